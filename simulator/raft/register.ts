/**
 * What the simulated clients agree on: a few keys, each a register with put, get and compare-and-set, inside the product's
 * own envelope of sessions. Each value is written once in a simulation. `digest` is a hash over all that was carried
 * out, so that two members that got to the same index in different ways are told apart.
 */
import { codec } from '../../protocols/codec.ts'
import { ok } from '../../protocols/outcome.ts'
import { type Envelope, envelopeCodec, type Machine, newEnvelope } from '../../protocols/raft/envelope.ts'
import { dictionary, integer, type Of, record, tagged, text } from '../../protocols/shape.ts'

const counter = integer(0, 2 ** 52)
const key = text(16)

const commandShape = tagged({
  put: record({ key, value: counter }),
  cas: record({ key, from: counter, to: counter }),
})
export type Command = Of<typeof commandShape>

const stateShape = record({ values: dictionary(counter, 64), digest: counter })
/** 0 stands for a key that was never written. */
type Registers = Of<typeof stateShape>

export const registers: Machine<Registers, Command> = {
  empty: () => ({ values: {}, digest: 1 }),
  state: codec('registers', stateShape),
  command: codec('register command', commandShape),
  /** Answers what was there before; a `cas` took effect if that is what it names. */
  apply(state, command) {
    const found = state.values[command.key] ?? 0
    const value = command.kind === 'put' ? command.value : found === command.from ? command.to : found
    state.values[command.key] = value
    state.digest = mixed(mixed(state.digest, value), found)
    return ok(found)
  },
}

export const emptyState = (): Envelope<Registers> => newEnvelope(registers.empty())
export const stateCodec = envelopeCodec(registers)

function mixed(hash: number, value: number): number {
  const x = Math.imul(hash ^ value ^ (hash >>> 15), 0x2c1b3c6d)
  return (x ^ (x >>> 12)) >>> 0
}
