/** What the simulator found in the Raft core, each as the few steps that are left of a seed. */
import test from 'ava'
import { emptyLog } from '../../protocols/raft/genesis.ts'
import type { Message } from '../../protocols/raft/messages.ts'
import { create, step } from '../../protocols/raft/raft.ts'

const header = { cluster: 'c', group: 'g', generation: 0, to: '3#1' }

// A voter that was added with an empty log does not know yet that it votes. It had heard the leader, which was lost with its
// log; its vote was needed, and its own election timer, which began anew and anew, kept it loyal for ever (seed 76).
test('who may not campaign is loyal to a silent leader for one election timeout, not for ever', (t) => {
  const electionTicks = 10
  const terms = { cluster: 'c', group: 'g', generation: 0, self: '3#1', heartbeatTicks: 2 }
  const raft = create({ ...terms, electionTicks, dice: () => 0 }, emptyLog())
  const heartbeat: Message = { ...header, kind: 'MsgHeartbeat', from: '1#1', term: 5, commit: 0, read: 0 }
  step(raft, { kind: 'message', message: heartbeat })
  const asks: Message = { ...header, kind: 'MsgPreVote', from: '2#1', term: 6, index: 9, logTerm: 5 }
  for (let tick = 1; tick <= 5 * electionTicks; tick++) {
    step(raft, { kind: 'tick' })
    const answers = step(raft, { kind: 'message', message: asks }).filter(({ kind }) => kind === 'send')
    t.is(answers.length, tick < electionTicks ? 0 : 1, `after ${tick} ticks`)
  }
})
