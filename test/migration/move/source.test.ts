import test from 'ava'
import {
  type Phase,
  type Source,
  type SourceEffect,
  type SourceEvent,
  startSource,
  stepSource,
} from '../../../migration/move/source.ts'

const M = '01J00000000000000000000000'
const VM = `aaaaaaaa-${M}`
const IMAGE = 'a'.repeat(64)
const NEWER = 'b'.repeat(64)
const base = [{ image: IMAGE, bytes: 1024 }]
const images = [{ image: NEWER, bytes: 1024 }]
const cost = { doneBytes: 10, totalBytes: 20, dedupBytes: 20, compressedBytes: 9, wireBytes: 11, sources: 1 }

const terms = {
  m: M,
  vm: VM,
  name: 'web',
  scope: 'mesh' as const,
  from: 'aaaaaaaa',
  epoch: [0, 1, 0, 1] as const,
  spec: '{}',
  wanted: 'running' as const,
  base,
  patienceMs: 10_000,
  nowMs: 0,
}

const seed: SourceEffect = { kind: 'send', message: { kind: 'seed', m: M, vm: VM, images: base } }
const offer: SourceEffect = {
  kind: 'send',
  message: {
    kind: 'offer',
    m: M,
    vm: VM,
    name: 'web',
    scope: 'mesh',
    from: 'aaaaaaaa',
    epoch: [0, 1, 0, 1],
    spec: '{}',
    wanted: 'running',
    images,
  },
}
const stop: SourceEffect = { kind: 'guest', action: 'stop' }
const capture: SourceEffect = { kind: 'guest', action: 'capture' }
const cancel: SourceEffect = { kind: 'propose', step: 'cancel' }
const failure = { code: 'TIMEOUT' as const, what: 'it', afterMs: 1 }
const tick: SourceEvent = { kind: 'tick' }
const taken: SourceEvent = { kind: 'outcome', outcome: 'taken', why: '' }
const cancelled: SourceEvent = { kind: 'outcome', outcome: 'cancelled', why: 'no room' }

// One row per rule: in this phase, on this event, go to that phase and do exactly this.
const rules: [
  rule: string,
  from: Phase | 'overdue',
  event: SourceEvent,
  to: Phase,
  effects: SourceEffect[],
][] = [
  [
    'states its intent once room is reserved',
    'reserving',
    { kind: 'agreed', step: 'reserve' },
    'intending',
    [{ kind: 'propose', step: 'intend' }],
  ],
  [
    'marks the VM once the intent is agreed on',
    'intending',
    { kind: 'agreed', step: 'intend' },
    'marking',
    [{ kind: 'propose', step: 'mark' }],
  ],
  ['seeds while the guest still runs', 'marking', { kind: 'agreed', step: 'mark' }, 'seeding', [seed]],
  ['hears no answer of an older step', 'seeding', { kind: 'agreed', step: 'reserve' }, 'seeding', []],
  [
    'ends at once when nothing was agreed on',
    'reserving',
    { kind: 'refused', step: 'reserve', failure },
    'cancelled',
    [{ kind: 'resume' }],
  ],
  [
    'withdraws an intent that may stand',
    'intending',
    { kind: 'refused', step: 'intend', failure },
    'cancelling',
    [cancel],
  ],
  ['seeds again on a tick', 'seeding', { kind: 'tick' }, 'seeding', [seed]],
  [
    'stops the guest once the destination is seeded',
    'seeding',
    { kind: 'message', message: { kind: 'seeded', m: M, cost } },
    'stopping',
    [stop],
  ],
  [
    'ignores another move',
    'seeding',
    { kind: 'message', message: { kind: 'seeded', m: M.replace('J', 'K'), cost } },
    'seeding',
    [],
  ],
  ['captures a stopped guest', 'stopping', { kind: 'stopped' }, 'capturing', [capture]],
  [
    'promises what it captured',
    'capturing',
    { kind: 'captured', images },
    'promising',
    [{ kind: 'promise', images }],
  ],
  [
    'offers nothing before its promise is synced',
    'promising',
    { kind: 'tick' },
    'promising',
    [{ kind: 'promise', images: [] }],
  ],
  ['withdraws when the guest does not stop', 'stopping', { kind: 'failed', failure }, 'cancelling', [cancel]],
  ['asks for a cancel past the deadline, offered or not', 'overdue', tick, 'cancelling', [cancel]],
  [
    'does not take the destination’s word for a take',
    'offering',
    { kind: 'message', message: { kind: 'running', m: M, cost } },
    'offering',
    [],
  ],
  ['releases on the committed take', 'offering', taken, 'taken', [{ kind: 'release' }]],
  ['releases on a take that beat its cancel', 'cancelling', taken, 'taken', [{ kind: 'release' }]],
  ['resumes on the committed cancel only', 'cancelling', cancelled, 'cancelled', [{ kind: 'resume' }]],
  ['repeats its cancel until the log answers', 'cancelling', tick, 'cancelling', [cancel]],
  [
    'is done when the destination runs',
    'taken',
    { kind: 'message', message: { kind: 'running', m: M, cost } },
    'done',
    [],
  ],
  ['never turns a take back', 'taken', { kind: 'cancel', why: 'operator' }, 'taken', []],
  ['never hears a second outcome', 'taken', cancelled, 'taken', []],
]

for (const [rule, from, event, to, effects] of rules) {
  test(`source ${rule}`, (t) => {
    const overdue = from === 'overdue'
    const source: Source = {
      ...startSource(terms),
      phase: overdue ? 'offering' : from,
      nowMs: overdue ? terms.patienceMs : 0,
    }
    t.deepEqual(stepSource(source, event), effects)
    t.is(source.phase, to)
  })
}

test('an offer carries the captured disks', (t) => {
  const source: Source = { ...startSource(terms), phase: 'promising', images }
  t.deepEqual(stepSource(source, { kind: 'promised' }), [offer])
  t.is(source.phase, 'offering')
})

test('after a restart the promise says where to go on', (t) => {
  t.is(startSource(terms, { images: undefined }).phase, 'seeding')
  t.is(startSource(terms, { images }).phase, 'offering')
  t.is(startSource({ ...terms, scope: 'site' }).phase, 'marking')
})

test('progress never runs backwards', (t) => {
  const source = { ...startSource(terms), phase: 'seeding' as const }
  stepSource(source, { kind: 'message', message: { kind: 'progress', m: M, phase: 'seeding', cost } })
  stepSource(source, {
    kind: 'message',
    message: { kind: 'progress', m: M, phase: 'seeding', cost: { ...cost, doneBytes: 3 } },
  })
  t.is(source.cost.doneBytes, 10)
})

test('the standstill is counted from the stop to the guest seen running', (t) => {
  const source: Source = { ...startSource(terms), phase: 'seeding', nowMs: 100 }
  stepSource(source, { kind: 'message', message: { kind: 'seeded', m: M, cost } })
  source.phase = 'offering'
  source.nowMs = 700
  stepSource(source, taken)
  stepSource(source, { kind: 'message', message: { kind: 'running', m: M, cost } })
  t.is(source.standstillMs, 600)
  t.is<Phase, Phase>(source.phase, 'done')
})
