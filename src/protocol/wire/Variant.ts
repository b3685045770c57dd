/**
 * What depends on the agreed version, and what is one of several.
 *
 * A message keeps one value through all versions: fields that came later read as a default, and
 * a layout that was replaced converts to the new one's value, so that nobody above asks for versions.
 */
import { Schema } from "effect"
import { type Codec, type Pull, refine, u32, type Version, WireError } from "./Codec.ts"

/** A condition on what was agreed, and how the docs say it. */
export interface When {
  readonly label: string
  readonly holds: (agreed: Version) => boolean
}

export const from = (version: Version): When => ({
  label: `since ${printVersion(version)}`,
  holds: (agreed) => agreed >= version
})

/** `1.37` for `0x0125`. */
export const printVersion = (version: Version): string => `${(version >> 8) & 0xff}.${version & 0xff}`

/** Present on the wire only when `when` holds; else it reads as `otherwise`. */
export const only = <A>(when: When, self: Codec<A>, otherwise: A): Codec<A> => ({
  schema: self.schema,
  grammar: `${self.grammar}  -- ${when.label}`,
  encode: (value, agreed) => (when.holds(agreed) ? self.encode(value, agreed) : []),
  *decode(agreed) {
    return when.holds(agreed) ? yield* self.decode(agreed) : otherwise
  }
})

/** Present on the wire only from `version` on; before it, reads as `otherwise`. */
export const since = <A>(version: Version, self: Codec<A>, otherwise: A): Codec<A> =>
  only(from(version), self, otherwise)

const indent = (grammar: string): string => grammar.replaceAll(/^/gm, "  ")

const either = ({ label }: When, then: string, otherwise: string): string =>
  `${label}\n${indent(then)}\nelse\n${indent(otherwise)}`

/** Two layouts of the same values: `then` when the condition holds, else `otherwise`. */
export const layouts = <A>(when: When, then: Codec<A>, otherwise: Codec<A>): Codec<A> => ({
  schema: then.schema,
  grammar: either(when, then.grammar, otherwise.grammar),
  encode: (value, agreed) => (when.holds(agreed) ? then : otherwise).encode(value, agreed),
  decode: (agreed) => (when.holds(agreed) ? then : otherwise).decode(agreed)
})

/**
 * Two layouts of different values. Whoever encodes gives the values of the one that was agreed on:
 * what the other lacks cannot be made up here.
 */
export const dialects = <A, B>(when: When, then: Codec<A>, otherwise: Codec<B>): Codec<A | B> => {
  const pick = (agreed: Version) => (when.holds(agreed) ? then : otherwise)
  return {
    schema: Schema.Union([then.schema, otherwise.schema]),
    grammar: either(when, then.grammar, otherwise.grammar),
    // The contract above: the value is of the type that the picked codec has.
    encode: (value, agreed) => pick(agreed).encode(value as A & B, agreed),
    *decode(agreed) {
      return yield* pick(agreed).decode(agreed)
    }
  }
}

/** In the layout of `version`, whatever was agreed on. */
export const pinned = <A>(version: Version, self: Codec<A>): Codec<A> => ({
  schema: self.schema,
  grammar: `${self.grammar}  -- as in ${printVersion(version)}`,
  encode: (value) => self.encode(value, version),
  decode: () => self.decode(version)
})

/** Always the same bytes, which carry no value. */
export const exactly = <A extends bigint | number | string>(self: Codec<A>, value: A): Codec<null> =>
  refine(self, {
    grammar: `${self.grammar} ${typeof value === "string" ? JSON.stringify(value) : value}`,
    schema: Schema.Null,
    to: () => value,
    from: (wire) => (wire === value ? null : new WireError({ expected: `${value}`, found: `${wire}`.slice(0, 100) }))
  })

/** Written as `value`; whatever comes is read and dropped. */
export const ignored = <A extends bigint | number | string | boolean>(self: Codec<A>, value: A): Codec<null> =>
  refine(self, {
    grammar: `${self.grammar} ${typeof value === "string" ? JSON.stringify(value) : value}, ignored`,
    schema: Schema.Null,
    to: () => value,
    from: () => null
  })

/** Names for small numbers. A number that has none is refused. */
export const enumeration = <const Names extends Record<string, number>>(names: Names): Codec<keyof Names & string> => {
  const entries = Object.entries(names)
  // `Object.entries` forgets that the keys are those of `Names`.
  const byCode = new Map(entries.map(([name, code]) => [code, name as keyof Names & string]))
  return refine(u32, {
    grammar: entries.map(([name, code]) => `${code} ${name}`).join("\n"),
    schema: Schema.Literals([...byCode.values()]),
    to: (name) => names[name]!,
    from: (code) =>
      byCode.get(code) ?? new WireError({ expected: `one of ${[...byCode.keys()].join(", ")}`, found: `${code}` })
  })
}

/** The values of a union: the fields of one case, under its name as `_tag`. */
export type Case<Cases extends Record<string, readonly [code: number, fields: Codec<any>]>> = {
  readonly [Tag in keyof Cases & string]: { readonly _tag: Tag } & Codec.Type<Cases[Tag][1]>
}[keyof Cases & string]

/** One of several structs, told apart by the number before it. */
export const tagged = <const Cases extends Record<string, readonly [code: number, fields: Codec<any>]>>(
  cases: Cases
): Codec<Case<Cases>> => {
  const entries = Object.entries(cases)
  const byCode = new Map(entries.map(([tag, [code, fields]]) => [code, { tag, fields }]))
  const printCode = (code: number) => (code > 0xffff ? `0x${code.toString(16)}` : `${code}`)
  return {
    // Each case's schema has the fields of its codec, and so the type `Case` says.
    schema: Schema.Union(entries.map(([tag, [, { schema }]]) => withTag(tag, schema))) as any,
    grammar: entries
      .map(([tag, [code, { grammar }]]) => `${printCode(code)} ${tag}${grammar === "" ? "" : `\n${indent(grammar)}`}`)
      .join("\n"),
    *encode(value, version) {
      const [number, fields] = cases[value._tag]!
      yield* u32.encode(number, version)
      yield* fields.encode(value, version)
    },
    *decode(version): Pull<Case<Cases>> {
      const number = yield* u32.decode(version)
      const found = byCode.get(number)
      if (found === undefined) {
        const expected = `one of ${[...byCode.keys()].map(printCode).join(", ")}`
        throw new WireError({ expected, found: printCode(number) })
      }
      const { fields, tag } = found
      // The tag and the codec of the fields come from the same case.
      return { _tag: tag, ...(yield* fields.decode(version)) }
    }
  }
}

/** The schemas of cases are structs, which carry their fields. */
const withTag = (tag: string, schema: Schema.Schema<any>): Schema.Schema<any> => {
  const { fields } = schema as Schema.Struct<Schema.Struct.Fields>
  return Schema.Struct({ _tag: Schema.tag(tag), ...fields })
}
