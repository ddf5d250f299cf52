/**
 * Bencoding (BEP 3), read without trust: whatever the bytes are, `decode` ends, in memory in proportion to them, with a value
 * or a GodwitError. (The package that webtorrent brings reads `l-3:e` for ever; migration/webtorrent puts this in its place.)
 *
 * Texts are byte strings. Keys are kept as latin1, one character a byte, so that what was read is written again as it was.
 */
import { GodwitError } from '../../protocols/errors.ts'

export type Bencoded = number | Uint8Array | readonly Bencoded[] | BencodedDictionary
export type BencodedDictionary = { readonly [key: string]: Bencoded }

/** A .torrent needs five: the list of a path in a file in the files of the info in the whole. */
const DEPTH_MAX = 32
/** 2^53 has 16 digits, and there may be a sign. */
const DIGITS_MAX = 17

const INTEGER = 0x69
const LIST = 0x6c
const DICTIONARY = 0x64
const END = 0x65
const COLON = 0x3a
const MINUS = 0x2d

type Reading = { readonly bytes: Uint8Array; at: number; readonly fail: (why: string) => never }

/**
 * The value that `bytes` begin with; `rest` says whether more may follow. Order of keys and leading zeros are let pass:
 * whoever hangs on one form compares with what `encode` makes of it. A key that comes twice is refused.
 *
 * @throws GodwitError IMAGE_INVALID, of `what`.
 */
export function decode(bytes: Uint8Array, what = 'bencoded data', rest = false): Bencoded {
  const fail = (why: string): never => {
    throw new GodwitError({ code: 'IMAGE_INVALID', path: what, why })
  }
  const reading: Reading = { bytes, at: 0, fail }
  const value = valueAt(reading, 0)
  if (!rest && reading.at !== bytes.length) fail(`it goes on past its end, at byte ${reading.at}`)
  return value
}

function valueAt(reading: Reading, depth: number): Bencoded {
  if (depth > DEPTH_MAX) return reading.fail('it is nested too deeply')
  switch (reading.bytes[reading.at]) {
    case INTEGER:
      reading.at++
      return numberUntil(reading, END, true)
    case LIST: {
      reading.at++
      const list: Bencoded[] = []
      while (!ended(reading)) list.push(valueAt(reading, depth + 1))
      return list
    }
    case DICTIONARY:
      reading.at++
      return dictionaryAt(reading, depth)
    default:
      return textAt(reading)
  }
}

function dictionaryAt(reading: Reading, depth: number): BencodedDictionary {
  const dictionary = Object.create(null) as Record<string, Bencoded>
  while (!ended(reading)) {
    const key = Buffer.from(textAt(reading)).toString('latin1')
    if (key in dictionary) reading.fail('a key comes twice')
    dictionary[key] = valueAt(reading, depth + 1)
  }
  return dictionary
}

function ended(reading: Reading): boolean {
  if (reading.at >= reading.bytes.length) reading.fail('it ends early')
  if (reading.bytes[reading.at] !== END) return false
  reading.at++
  return true
}

function textAt(reading: Reading): Uint8Array {
  const length = numberUntil(reading, COLON, false)
  const end = reading.at + length
  if (end > reading.bytes.length) reading.fail('it ends early')
  const text = reading.bytes.subarray(reading.at, end)
  reading.at = end
  return text
}

function numberUntil(reading: Reading, closing: number, signed: boolean): number {
  const { bytes, fail } = reading
  const negative = signed && bytes[reading.at] === MINUS
  if (negative) reading.at++
  const from = reading.at
  let value = 0
  for (; bytes[reading.at] !== closing; reading.at++) {
    const digit = (bytes[reading.at] ?? 0) - 0x30
    if (digit < 0 || digit > 9 || reading.at - from >= DIGITS_MAX)
      return fail(`no number stands at byte ${from}`)
    value = value * 10 + digit
  }
  if (reading.at === from || !Number.isSafeInteger(value)) return fail(`no number stands at byte ${from}`)
  reading.at++
  return negative ? -value : value
}

/** The one form of a value: keys in the order of their bytes. Keys whose value is undefined are left out. */
export function encode(value: Encodable): Uint8Array {
  const parts: Uint8Array[] = []
  put(value, parts)
  return Buffer.concat(parts)
}

export type Encodable =
  | number
  | string
  | Uint8Array
  | readonly Encodable[]
  | { readonly [key: string]: Encodable | undefined }

function put(value: Encodable, parts: Uint8Array[]): void {
  const say = (text: string): void => void parts.push(Buffer.from(text, 'latin1'))
  if (typeof value === 'number') return say(`i${value}e`)
  if (typeof value === 'string') return put(Buffer.from(value), parts)
  if (value instanceof Uint8Array) {
    say(`${value.length}:`)
    parts.push(value)
    return
  }
  if (isList(value)) {
    say('l')
    for (const each of value) put(each, parts)
    return say('e')
  }
  say('d')
  for (const key of Object.keys(value).sort()) {
    const each = value[key]
    if (each === undefined) continue
    put(Buffer.from(key, 'latin1'), parts)
    put(each, parts)
  }
  say('e')
}

/** `Array.isArray` does not tell a readonly array from the rest. */
export const isList = <T>(value: T | readonly T[] | object): value is readonly T[] => Array.isArray(value)
