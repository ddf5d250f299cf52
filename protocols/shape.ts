/**
 * Bounded checks from which the types of messages and records are inferred. A shape takes one decoded value and
 * returns it typed, or throws FRAME_INVALID with the path to the fault. Every shape has a bound, so a value that
 * passes cannot be larger than its declaration allows. Unknown fields are dropped, so an older peer reads a newer one.
 *
 * What goes into a group's log has to be read the same way by all versions in the group, so a shape can be asked to read as
 * the version did whose newest feature was `level` (features.ts): what is `since` a later one is then not there.
 */
import { GodwitError } from './errors.ts'

/** `level`: the newest feature that counts; every one unless told. */
export type Shape<T> = (value: unknown, at: string, level?: number) => T
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

/**
 * A view: the bytes stay in the frame, which is its reader's to keep. To copy them would cost more than all else that is
 * done with them, as many small buffers do. Never a Buffer, whatever the frame was.
 */
export const bytes =
  (lengthMax: number, lengthMin = 0): Shape<Uint8Array> =>
  (value, at) =>
    value instanceof Uint8Array && value.length >= lengthMin && value.length <= lengthMax
      ? plain(value)
      : refuse(at, `${lengthMin}..${lengthMax} bytes`)

export const list =
  <T>(item: Shape<T>, lengthMax: number): Shape<T[]> =>
  (value, at, level) =>
    Array.isArray(value) && value.length <= lengthMax
      ? value.map((each, index) => item(each, `${at}.${index}`, level))
      : refuse(at, `a list of at most ${lengthMax}`)

/** A map with text keys. */
export const dictionary =
  <T>(item: Shape<T>, sizeMax: number, key: Shape<string> = text(256)): Shape<Record<string, T>> =>
  (value, at, level) => {
    if (!isPlain(value)) return refuse(at, 'a record')
    const pairs = Object.entries(value)
    if (pairs.length > sizeMax) return refuse(at, `a record of at most ${sizeMax}`)
    return Object.fromEntries(
      pairs.map(([name, each]) => [key(name, at), item(each, `${at}.${name}`, level)]),
    )
  }

export const optional =
  <T>(shape: Shape<T>): Shape<T | undefined> =>
  (value, at, level) =>
    value === undefined || value === null ? undefined : shape(value, at, level)

/** A field, or a kind of a `tagged`, that came with a feature: to whoever reads below its level it is unknown. */
export const since =
  <T>(feature: number, shape: Shape<T>): Shape<T | undefined> =>
  (value, at, level = Infinity) =>
    level < feature ? undefined : shape(value, at, level)

type Fields = Record<string, Shape<unknown>>
type OptionalKeys<F extends Fields> = { [K in keyof F]: undefined extends Of<F[K]> ? K : never }[keyof F]
type RecordOf<F extends Fields> = { [K in Exclude<keyof F, OptionalKeys<F>>]: Of<F[K]> } & {
  [K in OptionalKeys<F>]?: Exclude<Of<F[K]>, undefined>
}

/** Drops fields it does not name. A field whose shape is `optional` is left out when it is absent. */
export function record<F extends Fields>(fields: F): Shape<RecordOf<F>> {
  const into = filling(fields)
  const shape: Shape<RecordOf<F>> = (value, at, level) => into({}, value, at, level) as RecordOf<F>
  fillings.set(shape, into)
  return shape
}

type Filling = (out: Record<string, unknown>, value: unknown, at: string, level: number | undefined) => object
/** How the records of a union are written behind their kind, without a copy of each. */
const fillings = new WeakMap<Shape<unknown>, Filling>()

/** Every frame of every peer goes through here, twice: what can be is worked out once for each shape. */
function filling(fields: Fields): Filling {
  const rows = Object.entries(fields).map(([name, shape]) => ({ name, shape, path: `.${name}` }))
  return (out, value, at, level) => {
    if (!isPlain(value)) return refuse(at, 'a plain record')
    for (const { name, shape, path } of rows) {
      const checked = shape(Object.hasOwn(value, name) ? value[name] : undefined, at + path, level)
      if (checked !== undefined) out[name] = checked
    }
    return out
  }
}

type Variants = Record<string, Shape<object | undefined>>
type TaggedOf<V extends Variants> = { [K in keyof V]: { kind: K } & Exclude<Of<V[K]>, undefined> }[keyof V]

/** A union told apart by `kind`: the keys of `variants` are the kinds. */
export function tagged<V extends Variants>(variants: V): Shape<TaggedOf<V>> {
  const rows = new Map(
    Object.entries(variants).map(([kind, shape]) => [kind, { shape, into: fillings.get(shape) }]),
  )
  const unknown = (at: string): never => refuse(`${at}.kind`, Object.keys(variants).join(' | '))
  return (value, at, level) => {
    const kind = (value as { kind?: unknown } | null | undefined)?.kind
    const row = typeof kind === 'string' ? rows.get(kind) : undefined
    if (row === undefined) return unknown(at)
    const { shape, into } = row
    if (into !== undefined) return into({ kind }, value, at, level) as TaggedOf<V>
    const read = shape(value, at, level)
    // It came with a feature, and counts only from that level on.
    if (read === undefined) return unknown(at)
    return { kind, ...read } as TaggedOf<V>
  }
}

const plain = (value: Uint8Array): Uint8Array =>
  value.constructor === Uint8Array ? value : new Uint8Array(value.buffer, value.byteOffset, value.byteLength)

function isPlain(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype
}
