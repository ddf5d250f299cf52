/**
 * Which chunks of a section are held, one bit each, most significant first, or as runs when that is shorter: counts of
 * chunks absent, held, absent … as LEB128 numbers, the last run left out. A whole image is two bytes, none is none.
 */
import { GodwitError } from '../errors.ts'

export type Section = {
  readonly from: number
  readonly count: number
  readonly form: 'bits' | 'runs'
  readonly data: Uint8Array
}

export const isSet = (bits: Uint8Array, at: number): boolean =>
  ((bits[at >> 3] as number) & (0x80 >> (at & 7))) !== 0

export const set = (bits: Uint8Array, at: number): void => {
  bits[at >> 3] = (bits[at >> 3] as number) | (0x80 >> (at & 7))
}

export function encodeSection(from: number, held: readonly boolean[]): Section {
  const bitsBytes = Math.ceil(held.length / 8)
  const runs: number[] = []
  let value = false
  let start = 0
  for (let at = 0; at < held.length && runs.length < bitsBytes; at++) {
    if (held[at] === value) continue
    pushNumber(runs, at - start)
    start = at
    value = !value
  }
  // Ends with a run of chunks held, which needs its length; what is absent at the end is implied.
  if (value) pushNumber(runs, held.length - start)
  if (runs.length < bitsBytes) return { from, count: held.length, form: 'runs', data: Uint8Array.from(runs) }
  const bits = new Uint8Array(bitsBytes)
  held.forEach((has, at) => {
    if (has) set(bits, at)
  })
  return { from, count: held.length, form: 'bits', data: bits }
}

function pushNumber(out: number[], value: number): void {
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) out.push((rest % 128) | 0x80)
  out.push(rest)
}

/**
 * Bit i of the answer: chunk `from + i` is held.
 *
 * @throws GodwitError FRAME_INVALID when the data does not fit the count.
 */
export function decodeSection({ count, form, data }: Section): Uint8Array {
  if (form === 'bits') {
    if (data.length !== Math.ceil(count / 8)) return refuse()
    return data
  }
  const bits = new Uint8Array(Math.ceil(count / 8))
  let at = 0
  let value = false
  let run = 0
  let scale = 1
  for (const byte of data) {
    run += (byte & 0x7f) * scale
    scale *= 128
    if (run > count - at || scale > 2 ** 35) return refuse()
    if (byte >= 0x80) continue
    if (value) for (let i = at; i < at + run; i++) set(bits, i)
    at += run
    value = !value
    run = 0
    scale = 1
  }
  if (scale !== 1) return refuse()
  return bits
}

const refuse = (): never => {
  throw new GodwitError({ code: 'FRAME_INVALID', at: 'swarm.have.data', expected: 'a map of `count` chunks' })
}
