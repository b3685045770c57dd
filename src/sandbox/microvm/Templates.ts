/**
 * Of which machines there is a template, a machine that has booted and that others begin as copies of. Pure.
 *
 *     asked ──askedMin times──▶ being made ──▶ made ──least recently used──▶ forgotten
 *       ▲                           │            │
 *       └────── has failed ─────────┴────────────┘   and has to be asked for eight times as often
 *
 * A machine that is asked for once is not worth a template: it costs a boot, and room on the disk. One is made at a time,
 * while whoever asks meanwhile boots. Nothing of a client's decides here but how large machines it asks for.
 */

/** How often machines of a kind have to be asked for. */
export const askedMin = 2

/** What a failure multiplies that by: a host on which copies fail would else lose the time for each of them. */
export const patience = 8

/** With more, whoever asks for machines of ever other sizes would fill the disk. */
export const templatesMax = 16
export const bytesMax = 2 * 2 ** 30

/** Kinds of machine that are remembered; who asks for ever others would else fill our memory. */
export const kindsMax = 256

type Entry<T> =
  | { readonly _tag: "Asked"; readonly times: number; readonly needed: number }
  | { readonly _tag: "Making"; readonly needed: number }
  | { readonly _tag: "Made"; readonly needed: number; readonly template: T; readonly bytes: number }

/** By kind of machine; what was used last comes last. */
export type Templates<T> = ReadonlyMap<string, Entry<T>>

export type Answer<T> =
  | { readonly _tag: "Boot" }
  /** Boot, and have a template made. */
  | { readonly _tag: "Make" }
  | { readonly _tag: "Copy"; readonly template: T }

export interface Changed<T> {
  readonly templates: Templates<T>
  /** To be closed: no machine begins as a copy of them any more. */
  readonly dropped: ReadonlyArray<T>
}

export const none: Templates<never> = new Map()

const put = <T>(templates: Templates<T>, kind: string, entry: Entry<T>): Templates<T> =>
  new Map([...[...templates].filter(([other]) => other !== kind), [kind, entry] as const])

/** A machine of this kind is wanted. */
export const ask = <T>(templates: Templates<T>, kind: string): Changed<T> & { readonly answer: Answer<T> } => {
  const entry = templates.get(kind) ?? { _tag: "Asked", times: 0, needed: askedMin }
  const answered = (answer: Answer<T>, next: Entry<T>) => ({ ...bounded(put(templates, kind, next)), answer })
  if (entry._tag === "Made") return answered({ _tag: "Copy", template: entry.template }, entry)
  if (entry._tag === "Making") return answered({ _tag: "Boot" }, entry)
  const times = entry.times + 1
  const isBusy = [...templates.values()].some(({ _tag }) => _tag === "Making")
  return times < entry.needed || isBusy
    ? answered({ _tag: "Boot" }, { ...entry, times })
    : answered({ _tag: "Make" }, { _tag: "Making", needed: entry.needed })
}

/** What was to be made has been. */
export const made = <T>(templates: Templates<T>, kind: string, template: T, bytes: number): Changed<T> => {
  const entry = templates.get(kind)
  return entry?._tag === "Making"
    ? bounded(put(templates, kind, { _tag: "Made", needed: entry.needed, template, bytes }))
    : { templates, dropped: [template] }
}

/** It could not be made; or, with a template, no machine came of it. Of a template that is there no more, nothing follows. */
export const failed = <T>(templates: Templates<T>, kind: string, template?: T): Changed<T> => {
  const entry = templates.get(kind)
  const isMeant =
    template === undefined ? entry?._tag === "Making" : entry?._tag === "Made" && entry.template === template
  if (entry === undefined || !isMeant) return { templates, dropped: [] }
  return {
    templates: put(templates, kind, { _tag: "Asked", times: 0, needed: entry.needed * patience }),
    dropped: template === undefined ? [] : [template]
  }
}

/** Without those that were used longest ago, as far as there are too many. What is being made stays. */
const bounded = <T>(templates: Templates<T>): Changed<T> => {
  const dropped: Array<T> = []
  const kept = new Map<string, Entry<T>>()
  const left = { templates: templatesMax, bytes: bytesMax, kinds: kindsMax }
  for (const [kind, entry] of [...templates].reverse()) {
    const isMade = entry._tag === "Made"
    const fits = !isMade || (left.templates > 0 && left.bytes >= entry.bytes)
    if (entry._tag !== "Making" && (left.kinds <= 0 || !fits)) {
      if (isMade) dropped.push(entry.template)
      continue
    }
    left.kinds--
    if (isMade) left.templates--
    if (isMade) left.bytes -= entry.bytes
    kept.set(kind, entry)
  }
  return { templates: new Map([...kept].reverse()), dropped }
}
