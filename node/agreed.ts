/**
 * What a group has agreed on, as far as this peer has applied it: the envelope around the group's own state, and where in the
 * log that is. Rebuilt from snapshot and entries in every life; each entry is applied once, in order.
 */
import type { Codec } from '../protocols/codec.ts'
import { GodwitError } from '../protocols/errors.ts'
import { SNAPSHOT_EVERY_ENTRIES } from '../protocols/limits.ts'
import {
  type Applied,
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
  applied(entry: Entry, applied: Applied<Command> | undefined): void
}

export class Agreed<State, Command> {
  readonly #machine: Machine<State, Command>
  readonly #snapshots: Codec<Envelope<State>>
  #envelope: Envelope<State>
  /** Applied up to here. */
  index = 0
  #term = 0
  #snapshotIndex = 0
  readonly #hooks: Hooks<Command>

  constructor(machine: Machine<State, Command>, snapshot: Snapshot, hooks: Hooks<Command>) {
    this.#hooks = hooks
    this.#machine = machine
    this.#snapshots = envelopeCodec(machine)
    this.#envelope = this.#decoded(snapshot.data)
    this.#stand(snapshot)
  }

  /** In place of everything. @throws GodwitError when it cannot be read. */
  restore(snapshot: Snapshot): void {
    this.#envelope = this.#decoded(snapshot.data)
    this.#stand(snapshot)
    this.#goByTiming()
  }

  apply(entries: readonly Entry[]): void {
    const { timing } = this
    for (const entry of entries) this.#hooks.applied(entry, this.#applied(entry))
    if (this.timing !== timing) this.#goByTiming()
    this.#hooks.feed({ kind: 'applied', index: this.index })
    this.#compact()
  }

  get state(): State {
    return this.#envelope.state
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
    return refusalOf(() => this.#snapshots.decode(data))
  }

  #applied({ index, term, kind, data }: Entry): Applied<Command> | undefined {
    this.index = index
    this.#term = term
    if (kind === 'configuration' || data.length === 0) return undefined
    return applyEntry(this.#envelope, this.#machine, index, data)
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

  #decoded(data: Uint8Array): Envelope<State> {
    return data.length === 0 ? newEnvelope(this.#machine.empty()) : this.#snapshots.decode(data)
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
