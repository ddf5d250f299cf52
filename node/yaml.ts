/**
 * From a YAML 1.2 text that a person wrote to a checked value, or to the first fault with its line, column and key.
 * Used for VM specs and for the configuration file; the schema says everything else. Total: nothing that is written
 * makes this throw, and the work is bounded by the length of the text.
 */
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import type { z } from 'zod'
import type { Failure } from '../protocols/errors.ts'
import { failed, ok, type Outcome } from '../protocols/outcome.ts'

export type Parse<S extends z.ZodType> = {
  readonly code: 'CONFIG_INVALID' | 'SPEC_INVALID'
  /** Name of the file, for the fault's place. */
  readonly file: string
  readonly text: string
  readonly bytesMax: number
  readonly schema: S
  /** Keys that the schema's preprocessing accepts for another: from what may be written to what the schema calls it. */
  readonly aliases?: Readonly<Record<string, string>>
}

type Issue = z.core.$ZodIssue
type Path = readonly PropertyKey[]
/** A place in the text: the node that is at fault, or the nearest around it. */
type Spot = { readonly key: string; readonly offset: number }

/** Aliases may make a text at most this many times as large as it is written. */
const ALIASES_MAX = 100

export function parseYaml<S extends z.ZodType>(parse: Parse<S>): Outcome<z.output<S>> {
  const { code, file, text, bytesMax, schema, aliases = {} } = parse
  const bytes = Buffer.byteLength(text)
  if (bytes > bytesMax) {
    return failed({ code, file, line: 1, column: 1, key: ROOT, why: `${bytes} bytes, over ${bytesMax}` })
  }
  const lines = new LineCounter()
  const fault = ({ key, offset }: Spot, why: string): Outcome<never> => {
    const { line, col } = lines.linePos(offset)
    const place = { file, line: Math.max(1, line), column: Math.max(1, col), key }
    return failed({ code, ...place, why: why.slice(0, 300) } satisfies Failure)
  }
  const document = parseText(text, lines)
  if (document === undefined) return fault({ key: 'yaml', offset: 0 }, TOO_DEEP)
  // A warning is a tag that nobody knows, or the like: what it would mean is a guess.
  const broken = document.errors[0] ?? document.warnings[0]
  if (broken?.code === 'MULTIPLE_DOCS')
    return fault({ key: 'yaml', offset: broken.pos[0] }, 'a second document')
  if (broken !== undefined) return fault({ key: 'yaml', offset: broken.pos[0] }, lowerFirst(broken.message))

  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: ALIASES_MAX })
  } catch (error) {
    return fault(
      { key: 'yaml', offset: 0 },
      lowerFirst(error instanceof Error ? error.message : String(error)),
    )
  }
  const checked = schema.safeParse(value)
  if (checked.success) return ok(checked.data)
  const [issue] = checked.error.issues
  if (issue === undefined) return fault({ key: ROOT, offset: 0 }, 'is refused')
  if (issue.code === 'unrecognized_keys') {
    const [unknown = ''] = issue.keys
    const near = nearest(unknown, [...knownKeys(schema, issue.path), ...Object.keys(aliases)])
    const hint = near === undefined ? '' : `; did you mean ${near}?`
    return fault(spotOf(document, [...issue.path, unknown], aliases), `unknown key${hint}`)
  }
  return fault(spotOf(document, issue.path, aliases), explain(issue, valueAt(value, issue.path)))
}

/** Undefined when the text is nested so deeply that the parser runs out of stack, which is all that it throws. */
function parseText(text: string, lineCounter: LineCounter): Document.Parsed | undefined {
  try {
    return parseDocument(text, { lineCounter, prettyErrors: false, stringKeys: true })
  } catch {
    return undefined
  }
}

/** The key of a fault that is the whole text's. */
const ROOT = 'document'

/** Walks as far down `path` as the text goes: a key that is missing has the place of what it is missing from. */
function spotOf(document: Document, path: Path, aliases: Readonly<Record<string, string>>): Spot {
  const written = (name: string): string[] => [
    name,
    ...Object.keys(aliases).filter((alias) => aliases[alias] === name),
  ]
  let node = document.contents as Node | null | undefined
  let offset = node?.range?.[0] ?? 0
  let key = ''
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document)
    const names = written(String(step))
    let name = names[0] ?? ''
    let next: Node | null | undefined
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && names.includes(String(item.key.value)))
      if (pair !== undefined && isScalar(pair.key)) {
        offset = pair.key.range?.[0] ?? offset
        name = String(pair.key.value)
        next = pair.value as Node | null
      }
    } else if (isSeq(node)) {
      next = node.items[Number(step)] as Node | undefined
      offset = next?.range?.[0] ?? offset
    }
    key = typeof step === 'number' ? `${key}[${step}]` : key === '' ? name : `${key}.${name}`
    node = next
  }
  return { key: key.slice(0, 200) || ROOT, offset }
}

function valueAt(value: unknown, path: Path): unknown {
  let at: unknown = value
  for (const step of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, step)) return undefined
    at = (at as Record<PropertyKey, unknown>)[step]
  }
  return at
}

function explain(issue: Issue, found: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      if (found === undefined) return 'is missing'
      if (issue.expected === 'string' && (typeof found === 'number' || typeof found === 'boolean')) {
        return `must be text: quote it, "${found}"`
      }
      return `must be ${KINDS[issue.expected] ?? issue.expected}, not ${kindOf(found)}`
    case 'invalid_value':
      return `must be ${issue.values.map(String).join(' or ')}`
    case 'too_small':
      return mustBe(issue.origin, `at least ${issue.minimum}`)
    case 'too_big':
      return mustBe(issue.origin, `at most ${issue.maximum}`)
    case 'invalid_key':
      return issue.issues[0]?.message ?? issue.message
    default:
      return lowerFirst(issue.message)
  }
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a map of keys to values',
  record: 'a map of keys to values',
  array: 'a list',
}
const COUNTED: Readonly<Record<string, string>> = { string: 'characters', array: 'entries' }

const mustBe = (origin: string, bound: string): string =>
  COUNTED[origin] === undefined ? `must be ${bound}` : `must have ${bound} ${COUNTED[origin]}`

function kindOf(value: unknown): string {
  if (value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'number') return `the number ${value}`
  return typeof value === 'object' ? 'a map' : KINDS[typeof value] === undefined ? typeof value : 'text'
}

const TOO_DEEP = 'nested too deeply'

const lowerFirst = (text: string): string => {
  const line = text.split('\n')[0] ?? ''
  // The parser reports its own end of stack as the text's fault, and so it is.
  if (line.includes('call stack')) return TOO_DEEP
  return line.charAt(0).toLowerCase() + line.slice(1)
}

/** The keys that `schema` knows at `path`, for a hint. */
function knownKeys(schema: z.core.$ZodType, path: Path): string[] {
  let at: z.core.$ZodType | undefined = schema
  for (const step of path) at = at && child(bare(at), step)
  const { def } = (at === undefined ? schema : bare(at))._zod as { def: { shape?: object } }
  return Object.keys(def.shape ?? {})
}

type Def = {
  readonly innerType?: z.core.$ZodType
  readonly in?: z.core.$ZodType
  readonly out?: z.core.$ZodType
  readonly shape?: Readonly<Record<PropertyKey, z.core.$ZodType>>
  readonly element?: z.core.$ZodType
  readonly valueType?: z.core.$ZodType
}
const defOf = (schema: z.core.$ZodType): Def => schema._zod.def as Def

/** Without defaults, optionals and preprocessing. */
function bare(schema: z.core.$ZodType): z.core.$ZodType {
  const { innerType, in: before, out } = defOf(schema)
  if (innerType !== undefined) return bare(innerType)
  if (before === undefined || out === undefined) return schema
  return bare(before._zod.def.type === 'transform' ? out : before)
}

function child(schema: z.core.$ZodType, step: PropertyKey): z.core.$ZodType | undefined {
  const { shape, element, valueType } = defOf(schema)
  return shape?.[step] ?? element ?? valueType
}

/** The known word that is least far from `typed`, if it is near enough to be meant. */
function nearest(typed: string, known: readonly string[]): string | undefined {
  const lower = typed.toLowerCase().slice(0, 64)
  const far = Math.max(1, Math.floor(lower.length / 3))
  const [best] = known
    .map((word) => ({ word, distance: distance(lower, word.toLowerCase()) }))
    .filter(
      (each) => each.distance <= far || (lower.length >= 3 && each.word.toLowerCase().startsWith(lower)),
    )
    .sort((a, b) => a.distance - b.distance || (a.word < b.word ? -1 : 1))
  return best?.word
}

/** Letters to add, drop, replace or swap with the next (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let best = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (before[j - 2] ?? 0) + 1)
      }
      next.push(best)
    }
    before = row
    row = next
  }
  return row[b.length] ?? 0
}
