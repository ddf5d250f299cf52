/** Buffers that are used again: by one at a time, and never before they were given back. */
import { fc, testProp } from '@fast-check/ava'
import { giveBack, lend } from '../../protocols/buffers.ts'
import { CHUNK_BYTES } from '../../protocols/limits.ts'

// Goal: what is lent is nobody else's. Method: lend and give back in any order, some of it twice or as a view; each frame is
// filled with its number, and must still be when it is given back.
const action = fc.record({
  bytes: fc.integer({ min: 1, max: 2 * CHUNK_BYTES }),
  back: fc.option(fc.record({ at: fc.nat(63), twice: fc.boolean(), view: fc.boolean() })),
})
testProp(
  'a frame is whole until it is given back',
  [fc.array(action, { maxLength: 100 })],
  (t, actions) => {
    const held: { readonly frame: Uint8Array; readonly mark: number }[] = []
    let next = 0
    for (const { bytes, back } of actions) {
      const mark = ++next % 251
      const frame = lend(bytes)
      t.is(frame.length, bytes)
      held.push({ frame: frame.fill(mark), mark })
      if (back === null) continue
      const [given] = held.splice(back.at % held.length, 1)
      if (given === undefined) continue
      t.true(given.frame.at(0) === given.mark && given.frame.at(-1) === given.mark)
      giveBack(back.view ? given.frame.subarray(1) : given.frame)
      if (back.twice) giveBack(given.frame)
    }
    for (const { frame, mark } of held) t.true(frame.at(0) === mark && frame.at(-1) === mark)
    for (const { frame } of held) giveBack(frame)
    t.pass()
  },
  { numRuns: 30 },
)
