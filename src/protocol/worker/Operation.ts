/**
 * What an operation of the worker protocol is: a number, what the client says after it, and the answer.
 *
 *   client  code, request, then perhaps a stream
 *   server  `Stderr.Message`s up to `Last`, response, then perhaps a stream
 *
 * Streams are no part of the codecs, which only say that one follows and how it travels. A client
 * sends no operation that its version lacks, and Nix's own daemon does not check that; nor do we.
 */
import * as Codec from "../wire/Codec.ts"

/** How a stream travels: cut into frames, as a bare NAR that ends where its grammar does, or pulled by the receiver. */
export type Transfer = "none" | "framed" | "nar" | "pulled"

export interface Operation<Request, Response> {
  readonly code: number
  /** The first version that has it, of those we speak. */
  readonly since: Codec.Version
  /** The last version whose clients send it; null while they do. */
  readonly until: Codec.Version | null
  readonly request: Codec.Codec<Request>
  readonly response: Codec.Codec<Response>
  /** What the client sends after its request. */
  readonly upload: (agreed: Codec.Version) => Transfer
  /** What the server sends after its response. */
  readonly download: "none" | "nar"
}

export declare namespace Operation {
  export type Request<O> = O extends Operation<infer Request, any> ? Request : never
  export type Response<O> = O extends Operation<any, infer Response> ? Response : never
}

/** What stands before each request. */
export const Code = Codec.u32

export const make = <Request, Response>(
  code: number,
  options: {
    readonly since?: Codec.Version
    readonly until?: Codec.Version
    readonly request: Codec.Codec<Request>
    readonly response: Codec.Codec<Response>
    readonly upload?: (agreed: Codec.Version) => Transfer
    readonly download?: "nar"
  }
): Operation<Request, Response> => ({
  code,
  since: options.since ?? 0x010f,
  until: options.until ?? null,
  request: options.request,
  response: options.response,
  upload: options.upload ?? (() => "none"),
  download: options.download ?? "none"
})
