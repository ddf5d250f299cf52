/**
 * What the simulated clients agree on: a few keys, each a register with put, get and compare-and-set, inside the product's
 * own envelope of sessions. Each value is written once in a simulation. `digest` is a hash over all that was carried
 * out, so that two members that got to the same index in different ways are told apart.
 *
 * `set` and `mark` stand for what came with the newest feature: a kind of command, and a field of one.
 */
import { codec } from '../../protocols/codec.ts'
import { FEATURE_LEVEL } from '../../protocols/features.ts'
import { ok } from '../../protocols/outcome.ts'
import { type Envelope, type Machine, newEnvelope } from '../../protocols/raft/envelope.ts'
import { dictionary, integer, type Of, optional, record, since, tagged, text } from '../../protocols/shape.ts'

const counter = integer(0, 2 ** 52)
const key = text(16)

const commandShape = tagged({
  put: record({ key, value: counter, mark: since(FEATURE_LEVEL, optional(counter)) }),
  set: since(FEATURE_LEVEL, record({ key, value: counter })),
  cas: record({ key, from: counter, to: counter }),
})
export type Command = Of<typeof commandShape>

const stateShape = record({ values: dictionary(counter, 64), digest: counter })
/** 0 stands for a key that was never written. */
export type Registers = Of<typeof stateShape>

export const registers: Machine<Registers, Command> = {
  empty: () => ({ values: {}, digest: 1 }),
  state: codec('registers', stateShape),
  command: codec('register command', commandShape),
  /** Answers what was there before; a `cas` took effect if that is what it names. */
  apply(state, command) {
    const found = state.values[command.key] ?? 0
    const value = command.kind !== 'cas' ? command.value : found === command.from ? command.to : found
    state.values[command.key] = value
    state.digest = mixed(mixed(state.digest, value), found)
    if (command.kind === 'put' && command.mark !== undefined) state.digest = mixed(state.digest, command.mark)
    return ok(found)
  },
}

export const emptyState = (): Envelope<Registers> => newEnvelope(registers.empty())

/** Whether it is of the newest feature. */
export const isNew = (command: Command): boolean =>
  command.kind === 'set' || (command.kind === 'put' && command.mark !== undefined)

export function mixed(hash: number, value: number): number {
  const x = Math.imul(hash ^ value ^ (hash >>> 15), 0x2c1b3c6d)
  return (x ^ (x >>> 12)) >>> 0
}
