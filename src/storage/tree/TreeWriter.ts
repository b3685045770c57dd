/**
 * Writes the tree of a NAR as its reader tells of it, with Nix's canonical metadata: mtime 1, modes 0444 and 0555.
 *
 * Names come from whoever made the NAR. Each is resolved in the directory that was just made for it and is held open,
 * and must not exist: a symlink that the NAR itself brought is never followed, and no path is too long. The calls are
 * synchronous, for the reader is; whoever drives it gives it little at a time.
 */
import * as fs from "node:fs"
import type { FileHead, Visitor } from "../../protocol/nar/Reader.ts"

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = fs.constants

/** Nix gives everything this time, in seconds since the epoch. */
const mtime = 1

/** What a file takes on disk beyond its contents, and what contents are rounded up to. */
const blockBytes = 4096

export class TreeWriter implements Visitor {
  /** About how much the tree takes on disk. */
  bytes = 0
  readonly #root: string
  /** Open directories, from the root down. */
  readonly #open: Array<number> = []
  #file: { readonly descriptor: number; readonly executable: boolean } | null = null

  /** `root`: what must not exist yet. */
  constructor(root: string) {
    this.#root = root
  }

  directory(name: Uint8Array | null): void {
    const path = this.#at(name)
    fs.mkdirSync(path, 0o700)
    this.#open.push(fs.openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW))
    this.bytes += blockBytes
  }

  directoryEnd(): void {
    const descriptor = this.#open.pop()
    if (descriptor !== undefined) finish(descriptor, 0o555)
  }

  file(name: Uint8Array | null, { executable, size }: FileHead): void {
    const descriptor = fs.openSync(this.#at(name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    this.#file = { descriptor, executable }
    this.bytes += blockBytes * (1 + Math.ceil(size / blockBytes))
  }

  contents(chunk: Uint8Array): void {
    if (this.#file === null) return
    for (let written = 0; written < chunk.length;) {
      written += fs.writeSync(this.#file.descriptor, chunk, written)
    }
  }

  fileEnd(): void {
    if (this.#file !== null) finish(this.#file.descriptor, this.#file.executable ? 0o555 : 0o444)
    this.#file = null
  }

  symlink(name: Uint8Array | null, target: Uint8Array): void {
    const path = this.#at(name)
    fs.symlinkSync(Buffer.from(target), path)
    fs.lutimesSync(path, mtime, mtime)
    this.bytes += blockBytes
  }

  /** Closes what is open, whether or not the tree is whole. */
  close(): void {
    if (this.#file !== null) fs.closeSync(this.#file.descriptor)
    for (const descriptor of this.#open) fs.closeSync(descriptor)
    this.#file = null
    this.#open.length = 0
  }

  #at(name: Uint8Array | null): Buffer | string {
    const parent = this.#open.at(-1)
    if (name === null || parent === undefined) return this.#root
    return Buffer.concat([Buffer.from(`/proc/self/fd/${parent}/`), name])
  }
}

const finish = (descriptor: number, mode: number): void => {
  fs.futimesSync(descriptor, mtime, mtime)
  fs.fchmodSync(descriptor, mode)
  fs.closeSync(descriptor)
}
