import test from 'ava'
import { Counting } from '../../../simulator/checkers/counting.ts'
import { NoLostWrite } from '../../../simulator/checkers/no-lost-write.ts'
import { OneOwner } from '../../../simulator/checkers/one-owner.ts'
import type { RunningGuest } from '../../../simulator/hypervisor.ts'
import { Violation } from '../../../simulator/scenario.ts'

const guest = (vm: string, host: string, count = 0): RunningGuest => ({
  vm,
  host,
  epoch: [0, 1, 0, 1],
  count,
})

test('one owner: two hosts that run one VM are found at the event at which the second starts', (t) => {
  let guests: RunningGuest[] = []
  let version = 0
  let looks = 0
  const checker = new OneOwner(
    () => (looks++, guests),
    () => version,
  )
  const now = (...next: RunningGuest[]): void => {
    guests = next
    version++
    checker.check()
  }
  now(guest('a', 'p'), guest('b', 'p'))
  now(guest('b', 'p'))
  now(guest('b', 'p'), guest('a', 'q'))
  checker.check()
  t.is(looks, 3, 'nothing changed, nothing looked at')
  const found = t.throws(() => now(guest('a', 'p'), guest('b', 'p'), guest('a', 'q')), {
    instanceOf: Violation,
  })
  t.is(found?.message, 'one owner: a runs on p (epoch 0.1.0.1) and q (epoch 0.1.0.1)')
})

test('counting: a counter that goes back is found, wherever it goes on', (t) => {
  const checker = new Counting()
  checker.look([guest('a', 'p', 5), guest('b', 'p', 9)])
  checker.look([guest('a', 'q', 5), guest('b', 'p', 12)])
  t.throws(() => checker.look([guest('a', 'q', 4)]), { message: 'counting: a counted 5 on q, then 4 on q' })
})

type State = Record<string, string>
type Step = ['ask' | 'acknowledge' | 'refuse', value: string]

/** Writes of values to one subject, and which of them may be what is left. */
const histories: [what: string, steps: Step[], allowed: string[], lost: string[]][] = [
  ['nothing acknowledged', [['ask', 'a']], ['', 'a', 'z'], []],
  [
    'one acknowledged',
    [
      ['ask', 'a'],
      ['acknowledge', 'a'],
    ],
    ['a'],
    ['', 'z'],
  ],
  [
    'one after the other',
    [
      ['ask', 'a'],
      ['acknowledge', 'a'],
      ['ask', 'b'],
      ['acknowledge', 'b'],
    ],
    ['b'],
    ['a', ''],
  ],
  [
    'both at once',
    [
      ['ask', 'a'],
      ['ask', 'b'],
      ['acknowledge', 'b'],
      ['acknowledge', 'a'],
    ],
    ['a', 'b'],
    [''],
  ],
  [
    'an open one after',
    [
      ['ask', 'a'],
      ['acknowledge', 'a'],
      ['ask', 'b'],
    ],
    ['a', 'b'],
    [''],
  ],
  [
    'a refused one after',
    [
      ['ask', 'a'],
      ['acknowledge', 'a'],
      ['ask', 'b'],
      ['refuse', 'b'],
    ],
    ['a'],
    ['b', ''],
  ],
  [
    'an open one before',
    [
      ['ask', 'a'],
      ['ask', 'b'],
      ['acknowledge', 'b'],
    ],
    ['a', 'b'],
    [''],
  ],
]

for (const [what, steps, allowed, lost] of histories) {
  test(`no lost write: ${what}`, (t) => {
    const checker = new NoLostWrite<State>()
    const ends = new Map<string, (acknowledged: boolean) => void>()
    for (const [step, value] of steps) {
      const holds = (state: State): boolean => state['x'] === value
      if (step === 'ask')
        ends.set(value, checker.asked({ group: 'g', subject: 'x', what: `x = ${value}`, holds }))
      else ends.get(value)?.(step === 'acknowledge')
    }
    for (const value of allowed) t.notThrows(() => checker.check('g', 'p', { x: value }), value)
    for (const value of lost) {
      t.throws(() => checker.check('g', 'p', { x: value }), { instanceOf: Violation }, value)
      t.notThrows(() => checker.check('another group', 'p', { x: value }))
    }
  })
}
