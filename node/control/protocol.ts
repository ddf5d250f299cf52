/**
 * What goes over the control socket: one JSON value per line. Both ends say hello first; then the client's requests, and
 * an answer to each in the order they are made ready. A client that says no hello is taken for one of this version.
 */
import type { Failure } from '../../protocols/errors.ts'

/** Goes up when a line of this version would be misread by an older end; such a pair does not talk. */
export const CONTROL_MAJOR = 1

export type Hello = { readonly version: string; readonly protocol: number; readonly peer: string }
export type Request = { readonly id: number; readonly method: string; readonly params: unknown }
/** `asOf`: when the peer made the answer, by its wall clock. */
export type Answer =
  | { readonly id: number; readonly ok: true; readonly value: unknown; readonly asOf: string }
  | { readonly id: number; readonly ok: false; readonly failure: Failure }

/** A request: a spec is 32 KiB, and JSON may double it many times before it is this long. */
export const REQUEST_BYTES_MAX = 1024 * 1024
/** An answer: lists of 16,384 peers or 4,096 VMs of 1 KiB each, with room. */
export const ANSWER_BYTES_MAX = 64 * 1024 * 1024
/** A shell script that runs sixty commands at once is a mistake. */
export const CLIENTS_MAX = 64
/** Requests of one client that are not answered yet. */
export const REQUESTS_MAX = 64

/**
 * Cuts a stream of bytes into lines. `tooLong` is called once, and nothing after it, when a line does not end within
 * `bytesMax`.
 */
export function lines(
  bytesMax: number,
  line: (text: string) => void,
  tooLong: () => void,
): (bytes: Buffer) => void {
  let parts: Buffer[] = []
  let length = 0
  let broken = false
  return (bytes) => {
    let rest = bytes
    while (!broken && rest.length > 0) {
      const end = rest.indexOf(0x0a)
      const part = end < 0 ? rest : rest.subarray(0, end)
      length += part.length
      if (length > bytesMax) {
        broken = true
        parts = []
        return tooLong()
      }
      parts.push(part)
      if (end < 0) return
      const text = Buffer.concat(parts).toString('utf8')
      parts = []
      length = 0
      rest = rest.subarray(end + 1)
      if (text.trim() !== '') line(text)
    }
  }
}

/** Undefined for what is no JSON object. */
export function parseLine(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
