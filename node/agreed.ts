/**
 * What a group has agreed on, as far as this peer has applied it: the envelope around the group's own state, and where in the
 * log that is. Rebuilt from snapshot and entries in every life; each entry is applied once, in order.
 *
 * At a feature level that this version does not know (protocols/features.ts) nothing more is applied: it is *halted* for the
 * rest of this life, with the state as it was before. A state that it cannot read at start it takes for none, at index 0, as a
 * newcomer that knows nothing yet; the log itself stays as it is.
 */
import type { Codec } from '../protocols/codec.ts'
import { GodwitError } from '../protocols/errors.ts'
import { SNAPSHOT_EVERY_ENTRIES } from '../protocols/limits.ts'
import {
  type Answered,
  applyEntry,
  type Envelope,
  envelopeCodec,
  type Machine,
  newEnvelope,
} from '../protocols/raft/envelope.ts'
import { decodeChange } from '../protocols/raft/configuration.ts'
import type { Configuration, Entry, RaftEvent, Snapshot } from '../protocols/raft/types.ts'

type Hooks<Command> = {
  /** In force at the index that is applied. */
  configuration(): Configuration
  feed(event: RaftEvent): void
  /** `applied` is undefined for what is Raft's own: a change of configuration, or a leader's first entry. */
  applied(entry: Entry, applied: Answered<Command> | undefined): void
  halted(): void
}

export class Agreed<State, Command> {
  readonly #machine: Machine<State, Command>
  readonly #snapshots: Codec<Envelope<State>>
  #envelope: Envelope<State>
  /** Applied up to here. */
  index = 0
  #term = 0
  #snapshotIndex = 0
  readonly #known: number
  readonly #hooks: Hooks<Command>
  /** The level that the group is at, when this version does not know it. */
  halted: number | undefined

  /** `known`: the feature level of this version. */
  constructor(machine: Machine<State, Command>, known: number, snapshot: Snapshot, hooks: Hooks<Command>) {
    this.#hooks = hooks
    this.#machine = machine
    this.#known = known
    this.#snapshots = envelopeCodec(machine, known)
    const envelope = this.#decoded(snapshot.data)
    if (typeof envelope === 'number') {
      this.halted = envelope
      this.#envelope = newEnvelope(machine.empty())
    } else {
      this.#envelope = envelope
      this.#stand(snapshot)
    }
  }

  /** What came of the start is told. */
  start(): void {
    if (this.halted !== undefined) this.#halt(this.halted)
    // What is known to be agreed is applied before anybody looks; nothing else comes of it.
    this.#hooks.feed({ kind: 'applied', index: this.index })
  }

  /** In place of everything. @throws GodwitError when it cannot be read. */
  restore(snapshot: Snapshot): void {
    const envelope = this.#decoded(snapshot.data)
    if (typeof envelope === 'number') return this.#halt(envelope)
    this.halted = undefined
    this.#envelope = envelope
    this.#stand(snapshot)
    this.#goByTiming()
  }

  apply(entries: readonly Entry[]): void {
    const { timing } = this
    for (const entry of entries) if (this.halted === undefined) this.#apply(entry)
    if (this.halted !== undefined) return
    if (this.timing !== timing) this.#goByTiming()
    this.#hooks.feed({ kind: 'applied', index: this.index })
    this.#compact()
  }

  get state(): State {
    return this.#envelope.state
  }

  /** Of the features that count in this group. */
  get level(): number {
    return this.#envelope.level
  }

  /** As agreed; undefined while the defaults hold. */
  get timing(): Envelope<State>['timing'] {
    return this.#envelope.timing
  }

  /** As it is now, as a snapshot of the log would have it. @throws GodwitError FRAME_TOO_LARGE */
  capture(): Snapshot {
    const { index } = this
    const configuration = this.#hooks.configuration()
    return { index, term: this.#term, configuration, data: this.#snapshots.encode(this.#envelope) }
  }

  /** Undefined for a state that has outgrown a snapshot: it keeps its log, and is slower to start, but nothing is lost. */
  captureIfItFits(): Snapshot | undefined {
    if (this.halted !== undefined) return undefined
    try {
      return this.capture()
    } catch (error) {
      if (!(error instanceof GodwitError)) throw error
      return undefined
    }
  }

  /** Why entries of others cannot be taken. What the state machine cannot read it refuses; a change of members must be one. */
  refusalOf(entries: readonly Entry[]): string | undefined {
    return refusalOf(() =>
      entries.forEach(({ kind, data }) => kind === 'configuration' && decodeChange(data)),
    )
  }

  /** Why a snapshot of others cannot be restored. */
  refusalOfSnapshot({ data }: Snapshot): string | undefined {
    return refusalOf(() => this.#decoded(data))
  }

  /** Whether a snapshot of others is of a level that is not known here: then this is the end, with the state that is here. */
  haltsAt({ data }: Snapshot): boolean {
    const read = this.#decoded(data)
    if (typeof read === 'number') this.#halt(read)
    return typeof read === 'number'
  }

  #apply(entry: Entry): void {
    const { index, term, kind, data } = entry
    const isCommand = kind === 'normal' && data.length > 0
    const applied = isCommand
      ? applyEntry(this.#envelope, this.#machine, index, data, this.#known)
      : undefined
    if (applied?.kind === 'unknown') return this.#halt(applied.level)
    this.index = index
    this.#term = term
    this.#hooks.applied(entry, applied)
  }

  #halt(level: number): void {
    this.halted = level
    this.#hooks.feed({ kind: 'halt' })
    this.#hooks.halted()
  }

  /** What the group has agreed on; the defaults hold until it has. */
  #goByTiming(): void {
    const { timing } = this
    if (timing !== undefined) this.#hooks.feed({ kind: 'timing', ...timing })
  }

  #compact(): void {
    if (this.index - this.#snapshotIndex < SNAPSHOT_EVERY_ENTRIES) return
    this.#snapshotIndex = this.index
    const snapshot = this.captureIfItFits()
    if (snapshot !== undefined)
      this.#hooks.feed({ kind: 'compact', index: snapshot.index, data: snapshot.data })
  }

  #stand({ index, term }: Snapshot): void {
    this.index = this.#snapshotIndex = index
    this.#term = term
  }

  /** Its level, for a state that this version does not know. */
  #decoded(data: Uint8Array): Envelope<State> | number {
    if (data.length === 0) return newEnvelope(this.#machine.empty())
    try {
      return this.#snapshots.decode(data)
    } catch (error) {
      if (error instanceof GodwitError && error.failure.code === 'FEATURE_UNKNOWN') return error.failure.level
      throw error
    }
  }
}

/** What a decoder has against something. */
function refusalOf(decode: () => unknown): string | undefined {
  try {
    decode()
    return undefined
  } catch (error) {
    if (!(error instanceof GodwitError)) throw error
    return error.message
  }
}
