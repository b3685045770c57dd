/**
 * What an attempt took of one input: so many bytes of its files left the host for the machine that it ran in.
 *
 * A guest keeps what it has read and reads ahead, so the bytes are about how much, and not of which. An input that is
 * not named was not read at all: of it, a build can have seen names, sizes, modes and links, and no contents.
 */
import { Schema } from "effect"
import { StorePath } from "../protocol/nix/StorePath.ts"

export const InputRead = Schema.Struct({ path: StorePath, bytes: Schema.Int })
export type InputRead = typeof InputRead.Type
