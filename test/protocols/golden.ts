/** Wire formats held in place: `name` of test/fixtures/frames is what `codec` makes of `message`, and reads back. */
import { readFileSync, writeFileSync } from 'node:fs'
import test from 'ava'
import type { Codec } from '../../protocols/codec.ts'

const folder = new URL('../fixtures/frames/', import.meta.url)

/** With GODWIT_WRITE_FRAMES=1 the fixture is written anew: for new messages, never for bytes that peers speak already. */
export function golden<T>(name: string, codec: Codec<T>, message: T): void {
  test(`${name} keeps its bytes`, (t) => {
    const file = new URL(`${name}.hex`, folder)
    const hex = Buffer.from(codec.encode(message)).toString('hex')
    if (process.env['GODWIT_WRITE_FRAMES'] === '1') writeFileSync(file, `${hex}\n`)
    const kept = readFileSync(file, 'utf8').trim()
    t.is(hex, kept)
    t.deepEqual(codec.decode(Buffer.from(kept, 'hex')), message)
  })
}

/** Whatever is cut or turned in a good frame: FRAME_INVALID, or another message of the same shape; never anything else. */
export function sturdy<T>(name: string, codec: Codec<T>, message: T): void {
  test(`${name}, cut or with any byte changed, is refused or harmless`, (t) => {
    const frame = codec.encode(message)
    const odd: unknown[] = []
    const attempt = (bytes: Uint8Array): void => {
      try {
        codec.encode(codec.decode(bytes))
      } catch (error) {
        const { failure } = error as { failure?: { code: string } }
        if (failure?.code !== 'FRAME_INVALID') odd.push(error)
      }
    }
    for (let at = 0; at < frame.length; at++) {
      attempt(frame.slice(0, at))
      for (const value of [0x00, 0xc0, 0x80, 0xff, (frame[at] ?? 0) ^ 1]) {
        const changed = Uint8Array.from(frame)
        changed[at] = value
        attempt(changed)
      }
    }
    t.deepEqual(odd, [])
  })
}
