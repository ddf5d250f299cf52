/** Rows about what those who ask may count on: reads, sessions, answers. */
import { envelopeCommand } from '../../../protocols/raft/envelope.ts'
import type { Asker } from '../../../protocols/raft/state.ts'
import type { Entry } from '../../../protocols/raft/types.ts'
import type { Look } from './look.ts'
import type { Checker } from './checker.ts'

export const SESSIONS: readonly Checker[] = [
  {
    id: 'I14',
    name: 'LinearizableReads',
    what: 'a read shows everything that was committed before it was asked, on true time',
    make: (_, broken) => ({
      answers({ id, machineIndex }, committed) {
        if (machineIndex < committed)
          broken(`${id} answered a read at ${machineIndex}: ${committed} was committed before`)
      },
    }),
  },
  {
    id: 'A1',
    name: 'NobodyIsForgotten',
    what: 'who asked is answered, refused, or waits for a leader that there is',
    make: (_, broken) => ({
      performed({ id, asked, raft: { role, leader, reading } }) {
        const { postponed, pending, forwarded, ready } = reading
        if (role !== 'leader' && postponed.length + pending.length > 0)
          broken(`${id} holds reads that a leader would answer, and is none`)
        if (leader === '' && forwarded.size > 0) broken(`${id} holds reads for a leader, and knows of none`)
        if (asked.size === 0) return
        const held = new Set([
          ...local(postponed),
          ...local(pending.map(({ asker }) => asker)),
          ...forwarded.values(),
          ...ready.map(({ token }) => token),
        ])
        for (const token of asked.keys()) if (!held.has(token)) broken(`${id} has forgotten request ${token}`)
      },
    }),
  },
  {
    id: 'I19',
    name: 'DoneOnce',
    what: 'a command takes effect once, however often it is asked for in its session',
    make: (_, broken) => {
      /** The state at each index, as whoever came there first has it. */
      const digests = new Map<number, number>()
      const doneAt = new Map<string, number>()
      return {
        applied({ machineIndex: index, digest }: Look, entry) {
          if (digests.has(index)) return
          digests.set(index, digest)
          const before = digests.get(index - 1)
          const key = entry === undefined ? undefined : keyOf(entry)
          if (key === undefined || before === undefined || before === digest) return
          const first = doneAt.get(key)
          if (first !== undefined) broken(`${key} was done by entry ${first} and by entry ${index}`)
          doneAt.set(key, index)
        },
      }
    },
  },
]

const local = (askers: readonly Asker[]): number[] =>
  askers.flatMap((asker) => (asker.kind === 'local' ? [asker.token] : []))

/** Session and serial of a command, if it is one. */
function keyOf({ kind, data }: Entry): string | undefined {
  if (kind === 'configuration' || data.length === 0) return undefined
  const asked = envelopeCommand.decode(data)
  return asked.kind === 'do' ? `serial ${asked.serial} of session ${asked.session}` : undefined
}
