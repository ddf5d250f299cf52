/**
 * What the version of a simulated host is: 0 is this one, 1 the one before it, without the newest feature. Of that one the
 * codecs are real: a field that came later is dropped from an entry's bytes and a kind that came later is refused, whatever the
 * code around them takes the group's level to be. So a mistake there shows as two members with different states.
 */
import { FEATURE_LEVEL, readable } from '../../protocols/features.ts'
import { type Envelope, envelopeCodec, envelopeCommand, type Machine } from '../../protocols/raft/envelope.ts'
import type { Codec } from '../../protocols/codec.ts'
import { type Command, registers, type Registers } from './register.ts'

export type Version = {
  /** The newest feature that it knows. */
  readonly known: number
  readonly machine: Machine<Registers, Command>
  readonly states: Codec<Envelope<Registers>>
  /** What it makes of the data of an entry before it reads it. */
  readonly takes: (data: Uint8Array) => Uint8Array
}

const KNOWN_BEFORE = FEATURE_LEVEL - 1
/** Nobody reads this. */
const NOTHING = Uint8Array.of(0xc1)

const before: Machine<Registers, Command> = {
  ...registers,
  command: {
    ...registers.command,
    decode: (data, level = Infinity) => registers.command.decode(data, Math.min(level, KNOWN_BEFORE)),
  },
}

export const VERSIONS: readonly [now: Version, before: Version] = [
  { known: FEATURE_LEVEL, machine: registers, states: envelopeCodec(registers), takes: (data) => data },
  {
    known: KNOWN_BEFORE,
    machine: before,
    states: envelopeCodec(before, KNOWN_BEFORE),
    takes(data) {
      const command = readable(envelopeCommand, data, KNOWN_BEFORE)
      return command === undefined ? NOTHING : envelopeCommand.encode(command)
    },
  },
]
