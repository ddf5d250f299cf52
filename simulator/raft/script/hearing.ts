/** What makes a node's core hear something, and apply something; told in the lines that etcd's core would log. */
import { membersOf } from '../../../protocols/raft/configuration.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import { apply, hear } from '../../../protocols/raft/raft.ts'
import type { Entry, RaftEvent } from '../../../protocols/raft/types.ts'
import { type Environment, log } from './environment.ts'
import { nodeOf, ScriptError } from './members.ts'
import { becameFollower, narrate, ownPreVote } from './narrate.ts'
import { type Mail, type ScriptNode, take } from './node.ts'
import { saidOf, switchedText } from './text.ts'
import { viewOf } from './view.ts'

/** The core hears an event. @returns What etcd's core would have logged. */
export function tell({ raft, after }: ScriptNode, event: RaftEvent): string[] {
  const before = viewOf(raft)
  hear(raft, event)
  after.push(...ownPreVote(before, raft))
  return narrate(before, event, raft)
}

/** A message of a core. @throws ScriptError on arrival, when the host keeps it from the core. */
export function mailOf(environment: Environment, message: Message): Mail {
  return {
    to: nodeOf(message.to),
    said: saidOf(message),
    isLocal: false,
    arrive: (node) => {
      if (isStranger(node, message)) throw new ScriptError('raft: cannot step as peer not found')
      log(environment, tell(node, { kind: 'message', message }))
    },
  }
}

/** Answers from who is in the group no more do not get as far as the core: etcd's RawNode keeps them away. */
function isStranger({ raft }: ScriptNode, { kind, from }: Message): boolean {
  return kind.endsWith('Resp') && !membersOf(raft.configuration).includes(from)
}

/** The core hands out what is to be applied. A change of configuration is in force from here on. */
export function applyCommitted(node: ScriptNode): { committed: readonly Entry[]; lines: string[] } {
  const { raft, history } = node
  const before = raft.role
  apply(raft)
  const committed = raft.out.apply.splice(0)
  take(node, committed)
  const lines = committed
    .filter(({ kind }) => kind === 'configuration')
    .map(({ index }) => history.find((each) => each.index === index)?.configuration ?? raft.configuration)
    .map((configuration) => switchedText(raft, configuration))
  if (before === 'leader' && raft.role === 'follower') lines.push(becameFollower(raft))
  return { committed, lines }
}
