import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { codec } from '../../../protocols/codec.ts'
import { GodwitError } from '../../../protocols/errors.ts'
import { FEATURE_LEVEL, levelOf } from '../../../protocols/features.ts'
import { ok } from '../../../protocols/outcome.ts'
import {
  applyEntry,
  type Envelope,
  envelopeCodec,
  envelopeCommand,
  type Machine,
  newEnvelope,
} from '../../../protocols/raft/envelope.ts'
import { lacking, levelToRaise } from '../../../protocols/raft/raising.ts'
import { create, type Status, status, step } from '../../../protocols/raft/raft.ts'
import { integer, list, optional, record, since, tagged, text } from '../../../protocols/shape.ts'
import { random } from '../../../simulator/random.ts'
import { Cluster, configurationOf, genesis, HEADER, HEARTBEAT_TICKS, peer } from './cluster.ts'

type Command = { kind: 'add'; word: string; times?: number | undefined } | { kind: 'drop'; word: string }
const add = record({ word: text(8) })
const state = codec('words', list(text(8), 10_000))

const apply: Machine<string[], Command>['apply'] = (words, command) => {
  if (command.kind === 'drop') return ok(words.splice(words.indexOf(command.word), 1).length)
  for (let time = 0; time < (command.times ?? 1); time++) words.push(command.word)
  return ok(words.length)
}

/** As the version of before wrote it: no kind `drop`, no field `times`. */
const older: Machine<string[], Command> = {
  empty: () => [],
  state,
  command: codec('word', tagged({ add })),
  apply,
}
const newer: Machine<string[], Command> = {
  empty: () => [],
  state,
  command: codec(
    'word',
    tagged({
      add: record({ word: text(8), times: since(1, optional(integer(0, 9))) }),
      drop: since(1, record({ word: text(8) })),
    }),
  ),
  apply,
}

const nowMs = 1_000_000
const doing = (serial: number, command: Command): Uint8Array =>
  envelopeCommand.encode({
    kind: 'do',
    session: 1,
    serial,
    acknowledged: 0,
    command: newer.command.encode(command),
    nowMs,
  })
const opened = envelopeCommand.encode({ kind: 'open', nowMs })
const feature = (level: number): Uint8Array => envelopeCommand.encode({ kind: 'feature', level, nowMs })

function played(machine: Machine<string[], Command>, entries: readonly Uint8Array[], known?: number) {
  const envelope: Envelope<string[]> = newEnvelope<string[]>([])
  const answers = [opened, ...entries].map((data, at) => applyEntry(envelope, machine, at + 1, data, known))
  return { envelope, answers, bytes: envelopeCodec(machine, known).encode(envelope) }
}

const word = fc.constantFrom('heron', 'stilt', 'godwit')
const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    word.map((each) => ({ kind: 'add' as const, word: each })),
    fc.tuple(word, fc.nat(9)).map(([each, times]) => ({ kind: 'add' as const, word: each, times })),
    word.map((each) => ({ kind: 'drop' as const, word: each })),
  ),
  { maxLength: 20 },
)
const staggered = envelopeCommand.encode({
  kind: 'timing',
  timing: { heartbeatTicks: 5, electionTicks: 20, staggerTicks: 3 },
  nowMs,
})

testProp(
  'below its level a feature is to a newer version what it is to an older one, to the byte',
  [commands],
  (t, asked) => {
    const entries = [staggered, Uint8Array.of(0xc1), ...asked.map((command, at) => doing(at, command))]
    const [before, after] = [played(older, entries, 0), played(newer, entries)]
    t.deepEqual(after.answers, before.answers)
    t.deepEqual(after.bytes, before.bytes)
    t.is(after.envelope.timing?.staggerTicks, undefined)
    for (const [at, { kind }] of asked.entries())
      if (kind === 'drop')
        t.like(after.answers[at + 3], { outcome: { failure: { code: 'COMMAND_UNREADABLE' } } })
  },
)

test('from its level on a feature counts', (t) => {
  const { envelope, answers } = played(newer, [
    doing(0, { kind: 'add', word: 'heron', times: 3 }),
    doing(1, { kind: 'drop', word: 'heron' }),
    feature(1),
    staggered,
    doing(2, { kind: 'add', word: 'stilt', times: 2 }),
    doing(3, { kind: 'drop', word: 'heron' }),
    // What was refused stays refused.
    doing(1, { kind: 'drop', word: 'heron' }),
  ])
  t.deepEqual(envelope.state, ['stilt', 'stilt'])
  t.is(envelope.timing?.staggerTicks, 3)
  t.is(envelope.level, 1)
  t.like(answers.at(-1), { outcome: { failure: { code: 'COMMAND_UNREADABLE' } } })
})

test('a level only rises, and one that is not known changes nothing at all', (t) => {
  const { envelope } = played(newer, [feature(1)])
  const before = envelopeCodec(newer).encode(envelope)
  t.deepEqual(applyEntry(envelope, newer, 9, feature(FEATURE_LEVEL + 1)), {
    kind: 'unknown',
    level: FEATURE_LEVEL + 1,
  })
  t.deepEqual(envelopeCodec(newer).encode(envelope), before)
})

test('a snapshot keeps the level, and says so to a version that knows less', (t) => {
  const { bytes } = played(newer, [feature(1), doing(0, { kind: 'add', word: 'heron', times: 2 })])
  t.is(envelopeCodec(newer).decode(bytes).level, 1)
  t.throws(() => envelopeCodec(newer, 0).decode(bytes), {
    instanceOf: GodwitError,
    message: 'the group is at feature level 1; this godwit knows levels up to 0',
  })
})

test('what a command needs', (t) => {
  const needs = (command: Command): number => levelOf(newer.command, newer.command.encode(command))
  t.is(needs({ kind: 'add', word: 'heron' }), 0)
  t.is(needs({ kind: 'add', word: 'heron', times: 2 }), 1)
  t.is(needs({ kind: 'drop', word: 'heron' }), 1)
  t.is(levelOf(newer.command, Uint8Array.of(0xc1)), 0)
})

type Member = Status['progress'][number]
const member = (n: number, level: number, recentActive = true): Member => ({
  peer: peer(n),
  state: 'replicate',
  match: 0,
  recentActive,
  level,
})
const gates: readonly [what: string, progress: readonly Member[], to: number | undefined, lacks: number[]][] =
  [
    ['all know it', [member(1, 1), member(2, 1), member(3, 1)], 1, []],
    ['one does not, whatever it is', [member(1, 1), member(2, 1), member(3, 0)], undefined, [3]],
    ['one is out of sight', [member(1, 1), member(2, 1, false)], undefined, [2]],
    ['the newest that all know', [member(1, 3), member(2, 2)], 2, []],
    ['alone', [member(1, 1)], 1, []],
    ['a leader that is in the group no more', [], undefined, []],
  ]
for (const [what, progress, to, lacks] of gates) {
  test(`a level is raised: ${what}`, (t) => {
    const led = { role: 'leader', progress } as unknown as Status
    t.is(levelToRaise(led, 0), to)
    t.is(levelToRaise({ ...led, role: 'follower' }, 0), undefined)
    t.is(levelToRaise(led, 3), undefined)
    t.deepEqual(lacking(led, 1), lacks.map(peer))
  })
}

test('a leader hears the level of each member, learners too, with its heartbeats', (t) => {
  const cluster = new Cluster()
  cluster.options = { level: 1 }
  for (const n of [1, 2, 3]) cluster.add(n, genesis(configurationOf([1, 2], [3])))
  const leader = cluster.elect(1)
  const levels = (): number[] => status(leader.raft).progress.map(({ level }) => level)
  t.deepEqual(levels(), [1, 0, 0])
  cluster.tick(HEARTBEAT_TICKS)
  t.deepEqual(levels(), [1, 1, 1])
})

test('who is halted gives up the lead, stands for none, answers no read, and stores and votes on', (t) => {
  const raft = create(
    { ...HEADER, self: peer(1), electionTicks: 10, heartbeatTicks: 2, dice: random(1, 'halted') },
    genesis(configurationOf([1, 2, 3])),
  )
  step(raft, { kind: 'halt' })
  t.deepEqual(step(raft, { kind: 'tick', count: 1_000 }), [])
  t.is(raft.role, 'follower')
  const head = { ...HEADER, from: peer(2), to: peer(1), term: 7 }
  const vote = { kind: 'MsgVote' as const, ...head, index: 0, logTerm: 0, transfer: false }
  const voted = step(raft, { kind: 'message', message: vote })
  t.like(
    voted.find(({ kind }) => kind === 'send'),
    { message: { kind: 'MsgVoteResp', reject: false } },
  )
  for (const effect of voted) if (effect.kind === 'store') step(raft, { kind: 'stored', token: effect.token })
  const entry = { term: 7, kind: 'normal' as const, data: Uint8Array.of(1) }
  const append = { kind: 'MsgApp' as const, ...head, index: 0, logTerm: 0, entries: [entry], commit: 1 }
  const said = step(raft, { kind: 'message', message: append })
  t.deepEqual(
    said.map(({ kind }) => kind),
    ['store', 'send', 'role'],
  )
  t.like(said[1], { message: { kind: 'MsgAppResp', index: 1, reject: false } })
  t.like(step(raft, { kind: 'read', token: 5 }), [{ kind: 'refused', token: 5, why: 'not-leader' }])
  t.is(raft.log.commit, 1)
})
