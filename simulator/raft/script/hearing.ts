/** What makes a node's core hear something, and apply something; told in the lines that etcd's core would log. */
import { membersOf } from '../../../protocols/raft/configuration.ts'
import { lastIndex } from '../../../protocols/raft/log.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import { apply, hear } from '../../../protocols/raft/raft.ts'
import type { Entry, RaftEvent } from '../../../protocols/raft/types.ts'
import { type Environment, log } from './environment.ts'
import { nameOf, nodeOf, ScriptError } from './members.ts'
import { becameFollower, narrate, ownPreVote } from './narrate.ts'
import { type Mail, type Own, type ScriptNode, take } from './node.ts'
import { type Said, saidOf, switchedText } from './text.ts'
import { saidSince, type View, viewOf } from './view.ts'

/** The core hears an event. @returns What etcd's core would have logged. */
export function tell(node: ScriptNode, event: RaftEvent): string[] {
  const { raft } = node
  const before = viewOf(raft)
  hear(raft, event)
  listen(node, before)
  return narrate(before, event, raft)
}

/** Keeps the order of what is said, and what the core now has to say to itself. */
export function listen(node: ScriptNode, before: View): void {
  const { raft, own, spoken } = node
  const name = nameOf(raft.config.self)
  const say = (
    said: Pick<Said, 'type' | 'index'> & { term: number },
    lines: readonly string[] = [],
  ): void => {
    const each = { said: { from: name, to: name, ...said }, lines }
    own.push(each)
    spoken.add(each)
  }
  const said = saidSince(before, raft)
  for (const message of said) spoken.add(message)
  if (said.some(({ kind }) => kind === 'MsgPreVote')) {
    say({ type: 'MsgPreVoteResp', term: raft.term + 1 }, ownPreVote(raft))
  }
  if (raft.role === 'candidate' && raft.term > before.term) say({ type: 'MsgVoteResp', term: raft.term })
  const index = lastIndex(raft.log)
  if (raft.role === 'leader' && index > before.lastIndex) say({ type: 'MsgAppResp', term: raft.term, index })
}

/** What etcd's core logs when what it said to itself is on disk, and it is what it was. */
export function heardOfItself({ raft }: ScriptNode, { said, lines }: Own): readonly string[] {
  const { type, from, term } = said
  if (term < raft.term) {
    const what = `ignored a ${type} message with lower term from ${from} [term: ${term}]`
    return [`INFO ${from} [term: ${raft.term}] ${what}`]
  }
  return type === 'MsgPreVoteResp' && raft.role !== 'pre-candidate' ? [] : lines
}

/** A message of a core. @throws ScriptError on arrival, when the host keeps it from the core. */
export function mailOf(environment: Environment, message: Message): Mail {
  const said = saidOf(message)
  return {
    to: nodeOf(message.to),
    said,
    isLocal: said.from === said.to,
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

/** The core hands out what is to be applied, up to an index. A change of configuration is in force from here on. */
export function applyCommitted(
  node: ScriptNode,
  upTo = Infinity,
): { committed: readonly Entry[]; lines: string[] } {
  const { raft, history } = node
  const view = viewOf(raft)
  const before = raft.role
  apply(raft, upTo)
  listen(node, view)
  const committed = raft.out.apply.splice(0)
  take(node, committed)
  const lines = committed
    .filter(({ kind }) => kind === 'configuration')
    .map(({ index }) => history.find((each) => each.index === index)?.configuration ?? raft.configuration)
    .map((configuration) => switchedText(raft, configuration))
  if (before === 'leader' && raft.role === 'follower') lines.push(becameFollower(raft))
  return { committed, lines }
}
