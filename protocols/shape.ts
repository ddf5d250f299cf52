/**
 * Bounded checks from which the types of messages and records are inferred. A shape takes one decoded value and
 * returns it typed, or throws FRAME_INVALID with the path to the fault. Every shape has a bound, so a value that
 * passes cannot be larger than its declaration allows. Unknown fields are dropped, so an older peer reads a newer one.
 */
import { GodwitError } from './errors.ts'

export type Shape<T> = (value: unknown, at: string) => T
export type Of<S> = S extends Shape<infer T> ? T : never

const refuse = (at: string, expected: string): never => {
  throw new GodwitError({ code: 'FRAME_INVALID', at, expected })
}

export const integer =
  (min: number, max: number): Shape<number> =>
  (value, at) =>
    Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max
      ? Number(value)
      : refuse(at, `an integer in ${min}..${max}`)

export const number =
  (min: number, max: number): Shape<number> =>
  (value, at) =>
    typeof value === 'number' && value >= min && value <= max
      ? value
      : refuse(at, `a number in ${min}..${max}`)

export const boolean: Shape<boolean> = (value, at) =>
  typeof value === 'boolean' ? value : refuse(at, 'true or false')

/** `lengthMin` is 1 unless told: an empty text is mostly a mistake. */
export const text =
  (lengthMax: number, lengthMin = 1): Shape<string> =>
  (value, at) =>
    typeof value === 'string' && value.length >= lengthMin && value.length <= lengthMax
      ? value
      : refuse(at, `text of ${lengthMin}..${lengthMax} characters`)

export const matching =
  (pattern: RegExp, what: string): Shape<string> =>
  (value, at) =>
    typeof value === 'string' && value.length <= 1024 && pattern.test(value) ? value : refuse(at, what)

export const oneOf =
  <const T extends string>(...allowed: readonly T[]): Shape<T> =>
  (value, at) =>
    allowed.find((candidate) => candidate === value) ?? refuse(at, allowed.join(' | '))

/** Copies: the bytes that the unpacker returns are a view into the frame, which its sender may reuse. */
export const bytes =
  (lengthMax: number, lengthMin = 0): Shape<Uint8Array> =>
  (value, at) =>
    value instanceof Uint8Array && value.length >= lengthMin && value.length <= lengthMax
      ? Uint8Array.from(value)
      : refuse(at, `${lengthMin}..${lengthMax} bytes`)

export const list =
  <T>(item: Shape<T>, lengthMax: number): Shape<T[]> =>
  (value, at) =>
    Array.isArray(value) && value.length <= lengthMax
      ? value.map((each, index) => item(each, `${at}.${index}`))
      : refuse(at, `a list of at most ${lengthMax}`)

/** A map with text keys. */
export const dictionary =
  <T>(item: Shape<T>, sizeMax: number, key: Shape<string> = text(256)): Shape<Record<string, T>> =>
  (value, at) => {
    if (!isPlain(value)) return refuse(at, 'a record')
    const pairs = Object.entries(value)
    if (pairs.length > sizeMax) return refuse(at, `a record of at most ${sizeMax}`)
    return Object.fromEntries(pairs.map(([name, each]) => [key(name, at), item(each, `${at}.${name}`)]))
  }

export const optional =
  <T>(shape: Shape<T>): Shape<T | undefined> =>
  (value, at) =>
    value === undefined || value === null ? undefined : shape(value, at)

type Fields = Record<string, Shape<unknown>>
type OptionalKeys<F extends Fields> = { [K in keyof F]: undefined extends Of<F[K]> ? K : never }[keyof F]
type RecordOf<F extends Fields> = { [K in Exclude<keyof F, OptionalKeys<F>>]: Of<F[K]> } & {
  [K in OptionalKeys<F>]?: Exclude<Of<F[K]>, undefined>
}

/** Drops fields it does not name. A field whose shape is `optional` is left out when it is absent. */
export function record<F extends Fields>(fields: F): Shape<RecordOf<F>> {
  const into = filling(fields)
  const shape = (value: unknown, at: string): RecordOf<F> => into({}, value, at) as RecordOf<F>
  fillings.set(shape, into)
  return shape
}

type Filling = (out: Record<string, unknown>, value: unknown, at: string) => object
/** How the records of a union are written behind their kind, without a copy of each. */
const fillings = new WeakMap<Shape<unknown>, Filling>()

/** Every frame of every peer goes through here, twice: what can be is worked out once for each shape. */
function filling(fields: Fields): Filling {
  const rows = Object.entries(fields).map(([name, shape]) => ({ name, shape, path: `.${name}` }))
  return (out, value, at) => {
    if (!isPlain(value)) return refuse(at, 'a plain record')
    for (const { name, shape, path } of rows) {
      const checked = shape(Object.hasOwn(value, name) ? value[name] : undefined, at + path)
      if (checked !== undefined) out[name] = checked
    }
    return out
  }
}

type Variants = Record<string, Shape<object>>
type TaggedOf<V extends Variants> = { [K in keyof V]: { kind: K } & Of<V[K]> }[keyof V]

/** A union told apart by `kind`: the keys of `variants` are the kinds. */
export function tagged<V extends Variants>(variants: V): Shape<TaggedOf<V>> {
  const rows = new Map(
    Object.entries(variants).map(([kind, shape]) => [kind, { shape, into: fillings.get(shape) }]),
  )
  return (value, at) => {
    const kind = (value as { kind?: unknown } | null | undefined)?.kind
    const row = typeof kind === 'string' ? rows.get(kind) : undefined
    if (row === undefined) return refuse(`${at}.kind`, Object.keys(variants).join(' | '))
    const { shape, into } = row
    return (into === undefined ? { kind, ...shape(value, at) } : into({ kind }, value, at)) as TaggedOf<V>
  }
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype
}
