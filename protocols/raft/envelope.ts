/**
 * What a group agrees on besides its own state: who asks, what was answered, what time it is, how patient to be. Every
 * entry's data is a command of the envelope; the group's own state machine sees only what is in a `do`, once.
 *
 *   open                      a session begins; it is named by the index of this entry (Ongaro's thesis, 6.3)
 *   do {session, serial, …}   carries a command out, unless that serial was done before: then its answer is said again
 *   timing                    from now on these heartbeats and elections, on every member
 *   feature                   from now on what came with features up to this level counts, on every member (features.ts)
 *
 * What it promises, whoever repeats, delays or reorders what entries:
 *
 *   once                a command takes effect at most once, and every copy of it gets the answer of the first
 *   the same everywhere the same entries make the same envelope, bytes and order included; a snapshot in between changes nothing
 *   total               whatever an entry holds, it is applied or refused, and nothing else happens; what cannot be read
 *                       at the group's level is refused with one answer, the same on every version
 *
 * An answer is kept until its asker says that it has it (`acknowledged`: all serials below are answered). A session ends when it was not
 * used for SESSION_MS of agreed time, or as the least recently used one when there are too many sessions or answers; what
 * comes in its name is refused from then on, done or not. Agreed time is the largest `nowMs` that any entry carried; one entry
 * moves it on by CLOCK_STEP_MS_MAX at most, and it never goes back.
 */
import { codec, type Codec } from '../codec.ts'
import { GodwitError } from '../errors.ts'
import { FEATURE_LEVEL, readable, STAGGERED_ELECTIONS } from '../features.ts'
import {
  ANSWER_LENGTH_MAX,
  ANSWERS_LENGTH_MAX,
  ANSWERS_MAX,
  CLOCK_STEP_MS_MAX,
  COMMAND_BYTES_MAX,
  PROPOSAL_BYTES_MAX,
  SESSION_MS,
  SESSION_WINDOW,
  SESSIONS_MAX,
  SNAPSHOT_BYTES_MAX,
  STATE_BYTES_MAX,
} from '../limits.ts'
import { failed, ok, type Outcome } from '../outcome.ts'
import { bytes, integer, list, type Of, optional, record, since, tagged, text } from '../shape.ts'

/** A group's own state: `apply` is total, deterministic, and changes `state` in place. What it answers is plain JSON. */
export type Machine<State, Command> = {
  readonly empty: () => State
  readonly state: Codec<State>
  readonly command: Codec<Command>
  apply(state: State, command: Command): Outcome<unknown>
}

type Session = {
  readonly id: number
  usedMs: number
  /** Its asker has the answers to all serials below this one. */
  acknowledged: number
  /** By serial, as JSON; empty: too long to be kept. */
  readonly answers: Map<number, string>
}

export type Envelope<State> = {
  state: State
  /** Agreed time; 0 until the first entry. */
  clockMs: number
  /** By id, the least recently used first. */
  readonly sessions: Map<number, Session>
  /** What all sessions keep: answers, and characters in them. */
  readonly kept: { answers: number; length: number }
  /** Undefined until agreed on: then the defaults of limits.ts hold. */
  timing: Timing | undefined
  /** Of the features that count; what came later is not read. */
  level: number
}

const counter = integer(0, 2 ** 52)
const nowMs = counter
const level = integer(1, 2 ** 16)

/** In ticks, as the core takes them; timing.ts says what they come from. Without a stagger followers stand at random. */
const timingShape = record({
  heartbeatTicks: integer(1, 2 ** 16),
  electionTicks: integer(1, 2 ** 20),
  staggerTicks: since(STAGGERED_ELECTIONS, optional(integer(1, 2 ** 20))),
})
export type Timing = Of<typeof timingShape>

const commandShape = tagged({
  open: record({ nowMs }),
  do: record({
    session: counter,
    serial: counter,
    acknowledged: counter,
    command: bytes(COMMAND_BYTES_MAX),
    nowMs,
  }),
  timing: record({ timing: timingShape, nowMs }),
  feature: record({ level, nowMs }),
})
export type EnvelopeCommand = Of<typeof commandShape>
/** As its proposer makes it: the leader that appends it says what time it is. */
export type Asked = EnvelopeCommand extends infer C
  ? C extends EnvelopeCommand
    ? Omit<C, 'nowMs'>
    : never
  : never
export const envelopeCommand = codec('envelope command', commandShape, PROPOSAL_BYTES_MAX)

export type Answered<Command> =
  /** `command` is set when it took effect just now, not when its answer is said again. */
  | { readonly kind: 'answer'; readonly outcome: Outcome<unknown>; readonly command?: Command }
  /** The session has ended: this copy had no effect, an earlier one may have had. */
  | { readonly kind: 'expired' }
  /** It was done, and its answer is not kept: too long, or its asker had it. */
  | { readonly kind: 'forgotten' }
export type Applied<Command> =
  | Answered<Command>
  /** The group is to go to a level that this version does not know: nothing was changed, and nothing may be applied after it. */
  | { readonly kind: 'unknown'; readonly level: number }

const UNREADABLE: Outcome<never> = failed({ code: 'COMMAND_UNREADABLE' })

export const newEnvelope = <State>(state: State): Envelope<State> => ({
  state,
  clockMs: 0,
  sessions: new Map(),
  kept: { answers: 0, length: 0 },
  timing: undefined,
  level: 0,
})

/** Applies the entry at `index`, whose data is `data`; changes `envelope` in place. `known`: this version's own level. */
export function applyEntry<State, Command>(
  envelope: Envelope<State>,
  machine: Machine<State, Command>,
  index: number,
  data: Uint8Array,
  known: number = FEATURE_LEVEL,
): Applied<Command> {
  const asked = readable(envelopeCommand, data, envelope.level)
  if (asked === undefined) return { kind: 'answer', outcome: UNREADABLE }
  if (asked.kind === 'feature' && asked.level > known) return { kind: 'unknown', level: asked.level }
  passTime(envelope, asked.nowMs)
  switch (asked.kind) {
    case 'open':
      open(envelope, index)
      return { kind: 'answer', outcome: ok(index) }
    case 'timing':
      envelope.timing = asked.timing
      return { kind: 'answer', outcome: ok(null) }
    case 'feature':
      // Two leaders may have proposed it, in either order.
      envelope.level = Math.max(envelope.level, asked.level)
      return { kind: 'answer', outcome: ok(envelope.level) }
    case 'do':
      return perform(envelope, machine, asked)
  }
}

function passTime(envelope: Envelope<unknown>, nowMs: number): void {
  const { clockMs, sessions } = envelope
  // The first entry sets the clock: there is nothing yet that it could end.
  envelope.clockMs = clockMs === 0 ? nowMs : Math.max(clockMs, Math.min(nowMs, clockMs + CLOCK_STEP_MS_MAX))
  // In order of their last use, so the first that stays is the last to look at.
  for (const session of sessions.values()) {
    if (session.usedMs + SESSION_MS >= envelope.clockMs) return
    end(envelope, session)
  }
}

function open(envelope: Envelope<unknown>, id: number): void {
  const { sessions, clockMs } = envelope
  const [oldest] = sessions.values()
  if (sessions.size >= SESSIONS_MAX && oldest !== undefined) end(envelope, oldest)
  sessions.set(id, { id, usedMs: clockMs, acknowledged: 0, answers: new Map() })
}

function perform<State, Command>(
  envelope: Envelope<State>,
  machine: Machine<State, Command>,
  asked: EnvelopeCommand & { kind: 'do' },
): Applied<Command> {
  const { serial } = asked
  const session = use(envelope, asked)
  if (session === undefined) return { kind: 'expired' }
  if (serial < session.acknowledged) return { kind: 'forgotten' }
  const kept = session.answers.get(serial)
  if (kept === '') return { kind: 'forgotten' }
  if (kept !== undefined) return { kind: 'answer', outcome: spoken(kept) }

  const command = readable(machine.command, asked.command, envelope.level)
  const said = JSON.stringify(command === undefined ? UNREADABLE : machine.apply(envelope.state, command))
  keep(envelope, session, serial, said.length <= ANSWER_LENGTH_MAX ? said : '')
  // The first asker hears what those who ask again will hear.
  const outcome = spoken(said)
  return command === undefined ? { kind: 'answer', outcome } : { kind: 'answer', outcome, command }
}

/** The session, as the most recently used one, without the answers that its asker has. */
function use(
  envelope: Envelope<unknown>,
  { session: id, serial, acknowledged }: EnvelopeCommand & { kind: 'do' },
): Session | undefined {
  const { sessions, clockMs } = envelope
  const session = sessions.get(id)
  if (session === undefined) return undefined
  // An asker that keeps to its window is never past it here; one that does not has no session any more.
  if (serial >= Math.max(acknowledged, session.acknowledged) + SESSION_WINDOW) {
    end(envelope, session)
    return undefined
  }
  sessions.delete(id)
  sessions.set(id, session)
  session.usedMs = clockMs
  if (acknowledged <= session.acknowledged) return session
  acknowledge(envelope, session, acknowledged)
  return session
}

/** Mostly a serial or two among hundreds of answers: those are looked at, not all. */
function acknowledge(envelope: Envelope<unknown>, session: Session, below: number): void {
  const { acknowledged: from, answers } = session
  session.acknowledged = below
  if (below - from > answers.size) {
    for (const serial of answers.keys()) if (serial < below) forget(envelope, session, serial)
  } else {
    for (let serial = from; serial < below; serial++)
      if (answers.has(serial)) forget(envelope, session, serial)
  }
}

/** Past the bounds the least recently used sessions that wait for an acknowledgement end; never the one in use. */
function keep(envelope: Envelope<unknown>, inUse: Session, serial: number, answer: string): void {
  const { kept, sessions } = envelope
  inUse.answers.set(serial, answer)
  kept.answers++
  kept.length += answer.length
  for (const session of sessions.values()) {
    if (kept.answers <= ANSWERS_MAX && kept.length <= ANSWERS_LENGTH_MAX) return
    if (session !== inUse && session.answers.size > 0) end(envelope, session)
  }
}

function forget({ kept }: Envelope<unknown>, { answers }: Session, serial: number): void {
  kept.answers--
  kept.length -= answers.get(serial)?.length ?? 0
  answers.delete(serial)
}

function end(envelope: Envelope<unknown>, session: Session): void {
  for (const serial of session.answers.keys()) forget(envelope, session, serial)
  envelope.sessions.delete(session.id)
}

/** `undefined` has no JSON: an answer without a value is spoken as null. */
function spoken(said: string): Outcome<unknown> {
  const outcome = JSON.parse(said) as Outcome<unknown>
  return outcome.ok ? ok(outcome.value ?? null) : outcome
}

const sessionShape = record({
  id: counter,
  usedMs: counter,
  acknowledged: counter,
  answers: list(record({ serial: counter, answer: text(ANSWER_LENGTH_MAX, 0) }), SESSION_WINDOW),
})

const snapshotShape = record({
  state: bytes(STATE_BYTES_MAX),
  clockMs: counter,
  sessions: list(sessionShape, SESSIONS_MAX),
  timing: optional(timingShape),
  /** Absent: 0. */
  level: optional(level),
})
const snapshot = codec('envelope', snapshotShape, SNAPSHOT_BYTES_MAX)
/** What every version can read of every later one's. */
const levelOf = codec('envelope', record({ level: optional(level) }), SNAPSHOT_BYTES_MAX)

/**
 * The envelope as the data of a snapshot, around a state of `machine`, as a version that knows levels up to `known` reads it.
 * `decode` throws FEATURE_UNKNOWN for one of a level above.
 */
export function envelopeCodec<State>(
  machine: Pick<Machine<State, never>, 'state'>,
  known: number = FEATURE_LEVEL,
): Codec<Envelope<State>> {
  return {
    name: snapshot.name,
    bytesMax: snapshot.bytesMax,
    encode({ state, clockMs, sessions, timing, level: at }) {
      const whole = {
        state: machine.state.encode(state, at),
        clockMs,
        sessions: [...sessions.values()].map(({ answers, ...session }) => ({
          ...session,
          answers: [...answers].map(([serial, answer]) => ({ serial, answer })),
        })),
        ...(timing === undefined ? {} : { timing }),
        ...(at === 0 ? {} : { level: at }),
      }
      return snapshot.encode(whole, at)
    },
    decode(data) {
      const { level: at = 0 } = levelOf.decode(data)
      if (at > known) throw new GodwitError({ code: 'FEATURE_UNKNOWN', level: at, known })
      const { state, clockMs, sessions, timing } = snapshot.decode(data, at)
      const answers = sessions.flatMap((session) => session.answers)
      return {
        state: machine.state.decode(state, at),
        clockMs,
        sessions: new Map(sessions.map((session) => [session.id, sessionOf(session)])),
        kept: {
          answers: answers.length,
          length: answers.reduce((sum, { answer }) => sum + answer.length, 0),
        },
        timing,
        level: at,
      }
    },
  }
}

const sessionOf = ({ answers, ...rest }: Of<typeof sessionShape>): Session => ({
  ...rest,
  answers: new Map(answers.map(({ serial, answer }) => [serial, answer])),
})
