/**
 * What the process that serves disks does: composes them, lets their clients read them, and forgets them.
 *
 * Plain functions of messages and sockets, without Effect: this is where every block that a build reads goes through.
 * Between one NAR and the next everybody else is let in, so a large closure does not stop other machines' reads.
 */
import type { Socket } from "node:net"
import type { Sha256 } from "../../protocol/nix/Hash.ts"
import type { StoredNar } from "../ClosureSource.ts"
import { SandboxError } from "../SandboxError.ts"
import { attach } from "./Attachment.ts"
import type { Answer, Closure, Request } from "./Control.ts"
import { Disk, type DiskMember } from "./Disk.ts"
import * as Erofs from "./Erofs.ts"
import { NarFiles } from "./NarFiles.ts"
import { Learner } from "./Learner.ts"
import { type Known, NarImages } from "./NarImages.ts"

/** What is remembered of NARs that no disk shows: some million files. */
const rememberedBytesMax = 256 * 1024 * 1024

interface Composing {
  readonly closure: Closure
  readonly known: Map<Sha256, Known>
}

export class Server {
  readonly #say: (answer: Answer) => void
  readonly #learner = new Learner()
  readonly #images = new NarImages(rememberedBytesMax)
  readonly #files = new NarFiles()
  readonly #composing = new Map<number, Composing>()
  readonly #disks = new Map<number, { readonly disk: Disk; client: Socket | null }>()

  constructor(say: (answer: Answer) => void) {
    this.#say = say
  }

  receive(request: Request, socket: Socket | null): void {
    switch (request._tag) {
      case "Compose":
        return this.#compose(request.disk, request.closure)
      case "Add":
        return this.#add(request.disk, request.nars, 0)
      case "Attach":
        return this.#attach(request.disk, socket)
      case "ReadLog":
        return this.#tellRead(request.disk)
      case "Forget":
        return this.#forget(request.disk)
    }
  }

  #compose(disk: number, closure: Closure): void {
    const known = new Map<Sha256, Known>()
    const missing = new Set<Sha256>()
    for (const { narHash } of closure) {
      const found = this.#images.find(narHash)
      if (found === null) missing.add(narHash)
      else known.set(narHash, found)
    }
    this.#composing.set(disk, { closure, known })
    if (missing.size > 0) this.#say({ _tag: "Missing", disk, narHashes: [...missing] })
    else this.#finish(disk)
  }

  #add(disk: number, nars: ReadonlyArray<StoredNar>, index: number): void {
    const composing = this.#composing.get(disk)
    // Forgotten meanwhile.
    if (composing === undefined) return
    const nar = nars[index]
    if (nar === undefined) return this.#finish(disk)
    this.#learner.learn(nar.listing, (image) => {
      if (typeof image === "string") {
        return this.#refuse(disk, refused(`the listing of NAR ${nar.narHash}: ${image}`))
      }
      const known = { image, contents: ownContents(nar) }
      this.#images.add(nar.narHash, known)
      composing.known.set(nar.narHash, known)
      setImmediate(() => this.#add(disk, nars, index + 1))
    })
  }

  #finish(disk: number): void {
    const composing = this.#composing.get(disk)
    if (composing === undefined) return
    const members = composing.closure.flatMap(({ narHash, path }) => {
      const known = composing.known.get(narHash)
      return known === undefined ? [] : [{ path, ...known }]
    })
    if (members.length < composing.closure.length) {
      return this.#refuse(disk, refused("expected every NAR of the closure, found some missing"))
    }
    this.#step(disk, Erofs.steps(members))
  }

  #step(disk: number, steps: ReturnType<typeof Erofs.steps<DiskMember>>): void {
    // Forgotten meanwhile.
    if (!this.#composing.has(disk)) return
    const { done, value: image } = steps.next()
    if (done !== true) {
      setImmediate(() => this.#step(disk, steps))
      return
    }
    if (image instanceof SandboxError) return this.#refuse(disk, image)
    this.#composing.delete(disk)
    this.#disks.set(disk, { disk: new Disk(image, this.#files), client: null })
    this.#say({ _tag: "Composed", disk, sizeBytes: image.sizeBytes })
  }

  #refuse(disk: number, error: SandboxError): void {
    this.#composing.delete(disk)
    this.#say({ _tag: "Refused", disk, detail: error.message.slice(0, 4096) })
  }

  #attach(disk: number, socket: Socket | null): void {
    const served = this.#disks.get(disk)
    if (socket === null) return
    if (served === undefined || served.client !== null) {
      socket.destroy()
      return
    }
    served.client = socket
    attach(socket, served.disk, (reason) =>
      this.#say({ _tag: "Left", disk, reason: reason === null ? null : reason.slice(0, 4096) })
    )
  }

  #tellRead(disk: number): void {
    const served = this.#disks.get(disk)
    if (served === undefined) return this.#refuse(disk, refused("there is no such disk"))
    this.#say({ _tag: "Read", disk, inputs: served.disk.read })
  }

  #forget(disk: number): void {
    this.#composing.delete(disk)
    const served = this.#disks.get(disk)
    this.#disks.delete(disk)
    served?.client?.destroy()
  }
}

const refused = (detail: string) => new SandboxError({ operation: "serving a closure", detail })

/** A copy: what came in one message would else be kept whole for each of its parts. */
const ownContents = ({ contents }: StoredNar): StoredNar["contents"] =>
  contents._tag === "Bytes" ? { _tag: contents._tag, bytes: new Uint8Array(contents.bytes) } : contents
