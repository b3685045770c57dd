/**
 * What a setting is: its name, what it may be, what it is when nobody says, and how it is told to a person.
 *
 * Nothing is read here, neither the environment nor a file.
 */
import type * as Result from "effect/Result"

/** A setting that cannot be followed, in words for whoever gave it. */
export class SettingRefused {
  readonly _tag = "SettingRefused"
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

/** What the defaults depend on. */
export interface Surroundings {
  readonly isRoot: boolean
  readonly environment: { readonly [name: string]: string | undefined }
  readonly home: string
  /** What relative paths on the command line are relative to. */
  readonly directory: string
  readonly cores: number
  readonly memoryBytes: number
  readonly readFile: (file: string) => Result.Result<string, string>
}

export interface Setting<A> {
  readonly option: string
  readonly placeholder: string
  readonly about: string
  /** What it may be, as it is told to whoever gave something else. */
  readonly allowed: string
  /** `directory`: what a relative path is relative to. Undefined for what is not allowed. */
  readonly parse: (text: string, directory: string) => A | undefined
  readonly fallback: (around: Surroundings) => A
  /** The fallback in words. */
  readonly otherwise: string
  readonly print: (value: A) => string
}

export const setting = <A>(self: Setting<A>) => self
