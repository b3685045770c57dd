/**
 * A client's channel, as the SSH door hands it to a session: bytes each way, each piece after some time of its own and
 * in order, until one end is gone or says nothing any more.
 *
 * Each end reads what has come by then, in whichever pieces, and waits with writing once the other has a window's worth
 * unread. What an end says last still comes; what it never says is only noticed when the other end gives it up.
 */
import { Deferred, Effect } from "effect"
import { type Channel, ChannelClosed } from "../../src/actors/session/Channel.ts"
import type { Account } from "../../src/domain/Account.ts"
import type { Departure } from "../../src/domain/Departure.ts"
import type * as Source from "../../src/protocol/wire/Source.ts"
import type { Chance } from "./Chance.ts"
import type { Life } from "./Universe.ts"

type Piece = { readonly _tag: "Out" | "Error"; readonly bytes: Uint8Array } | { readonly _tag: "Ended" | "Closed" }

const nothing = new Uint8Array(0)
const decoder = new TextDecoder()

/** One end of it: what its own life hears and says. */
export class End {
  /** What has come on stderr. */
  errors = ""
  /** Null while it is whole. */
  lost: string | null = null
  hasEnded = false
  /** Told of everything that comes, in this end's own life. */
  onChange = () => {}
  readonly #life: Life
  readonly #chance: Chance
  readonly #windowBytes: number
  readonly #coming: Array<Piece> = []
  readonly #waiting = new Set<() => void>()
  #inbox: Array<Uint8Array> = []
  #changes = 0
  #other: End | null = null
  /** Bytes that this end has sent and the other has not read. */
  #unread = 0

  constructor(life: Life, chance: Chance, windowBytes: number) {
    this.#life = life
    this.#chance = chance
    this.#windowBytes = windowBytes
  }

  static join(one: End, other: End) {
    one.#other = other
    other.#other = one
  }

  /** Nothing more comes, and all has been read. */
  get isDrained(): boolean {
    return this.hasEnded && this.#inbox.length === 0
  }

  readonly input: Source.Source<ChannelClosed> = {
    peek: Effect.suspend(() => this.#peek()),
    advance: (count) => {
      const [first = nothing, ...rest] = this.#inbox
      this.#inbox = count === first.length ? rest : [first.subarray(count), ...rest]
      this.#other?.read(count)
      this.onChange()
    }
  }

  readonly write = (bytes: Uint8Array): Effect.Effect<void, ChannelClosed> => this.#write("Out", bytes)
  readonly writeError = (bytes: Uint8Array): Effect.Effect<void, ChannelClosed> => this.#write("Error", bytes)

  /** Has nothing more to say, and still listens. */
  end() {
    this.#say({ _tag: "Ended" })
  }

  close() {
    this.#say({ _tag: "Closed" })
    this.lose("closed here")
  }

  /** It is over for this end, whatever the other knows of it. */
  lose(detail: string) {
    if (this.lost !== null) return
    this.lost = detail
    this.onChange()
    this.#wake()
  }

  /** What has come and was not read is of no use to anybody. */
  drop() {
    this.#inbox = []
  }

  read(count: number) {
    this.#unread -= count
    this.#wake()
  }

  #write(_tag: "Out" | "Error", bytes: Uint8Array): Effect.Effect<void, ChannelClosed> {
    return Effect.suspend(() => {
      if (this.lost !== null) return this.#closed
      if (bytes.length === 0) return Effect.void
      const at = this.#chance.happens(0.2) ? this.#chance.below(bytes.length) : 0
      // Copied, as a socket does: whoever wrote may use the bytes again.
      for (const part of [bytes.slice(0, at), bytes.slice(at)]) if (part.length > 0) this.#say({ _tag, bytes: part })
      if (_tag === "Out") this.#unread += bytes.length
      return this.#untilRead
    })
  }

  readonly #untilRead: Effect.Effect<void, ChannelClosed> = Effect.suspend(() => {
    if (this.#unread <= this.#windowBytes) return Effect.void
    return this.lost === null ? Effect.andThen(this.#changedSince(this.#changes), this.#untilRead) : this.#closed
  })

  #peek(): Effect.Effect<Uint8Array, ChannelClosed> {
    const [first] = this.#inbox
    if (first !== undefined) return Effect.succeed(first)
    if (this.hasEnded) return Effect.succeed(nothing)
    if (this.lost !== null) return this.#closed
    return Effect.andThen(
      this.#changedSince(this.#changes),
      Effect.suspend(() => this.#peek())
    )
  }

  get #closed() {
    return Effect.fail(new ChannelClosed({ detail: this.lost ?? "the channel is closed" }))
  }

  /** Until something changes, or has changed since `seen`: a fiber may pause between looking and waiting. */
  #changedSince(seen: number): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (this.#changes !== seen) return resume(Effect.void)
      const once = () => {
        this.#waiting.delete(once)
        resume(Effect.void)
      }
      this.#waiting.add(once)
      return Effect.sync(() => this.#waiting.delete(once))
    })
  }

  #wake() {
    this.#changes++
    for (const wake of this.#waiting) this.#life.soon(wake)
  }

  #say(piece: Piece) {
    if (this.lost === null) this.#other?.hear(piece)
  }

  /** One after the other, whichever time the next takes. */
  hear(piece: Piece) {
    this.#coming.push(piece)
    const arrive = () => {
      const piece = this.#coming.shift()
      if (piece !== undefined && this.lost === null) this.#take(piece)
    }
    if (this.#chance.happens(0.7)) this.#life.soon(arrive)
    else this.#life.after(this.#chance.between(1, 30), arrive)
  }

  #take(piece: Piece) {
    switch (piece._tag) {
      case "Out":
        this.#inbox.push(piece.bytes)
        break
      case "Error":
        this.errors += decoder.decode(piece.bytes)
        break
      case "Ended":
        this.hasEnded = true
        break
      case "Closed":
        return this.lose("the other end has closed the channel")
    }
    this.onChange()
    this.#wake()
  }
}

/** The door's end, and what it makes of it for a session. */
export interface Door {
  readonly channel: Channel
  /** Resolves when the client is gone. */
  readonly lost: Effect.Effect<void>
  /** It is given up: nothing has been heard of the client for long. */
  readonly giveUp: () => void
  readonly finish: () => void
}

export const doorOf = (end: End, account: Account, environment: ReadonlyMap<string, string>): Door => {
  const closed = Deferred.makeUnsafe<void>()
  const gone = Deferred.makeUnsafe<void>()
  let departure: Departure | null = null
  end.onChange = () => {
    if (end.lost !== null) {
      departure ??= "left"
      end.drop()
      Deferred.doneUnsafe(gone, Effect.void)
    }
    if (end.lost !== null || end.isDrained) Deferred.doneUnsafe(closed, Effect.void)
  }
  return {
    channel: {
      account,
      environment,
      input: end.input,
      write: end.write,
      writeError: end.writeError,
      closed: Deferred.await(closed),
      departure: () => departure ?? (Deferred.isDoneUnsafe(closed) ? "left" : null)
    },
    lost: Deferred.await(gone),
    giveUp: () => {
      if (end.lost !== null) return
      departure = "silent"
      end.lose("nothing is heard of the client")
    },
    finish: () => {
      end.onChange = () => {}
      end.end()
      end.close()
    }
  }
}
