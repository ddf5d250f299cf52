/** `deliver-msgs` and `send-snapshot`: messages arrive, or are lost, when the script says so. */
import { crc32 } from 'node:zlib'
import { idsOf, valueOf } from './arguments.ts'
import type { Command } from './data-driven.ts'
import { describeMail, type Environment, nodeAt, print } from './environment.ts'
import { mailOf } from './hearing.ts'
import { memberOf, parseNumber, ScriptError } from './members.ts'
import type { Mail, ScriptNode } from './node.ts'

/** `deliver-msgs 1 2 drop=(3) type=MsgApp` */
export function deliverMessages(environment: Environment, command: Command): void {
  const type = valueOf(command, 'type')
  const recipients = command.arguments.flatMap(({ key, values }) => {
    if (key === 'drop') return values.map((id) => ({ id: parseNumber(id), isDropped: true }))
    return values.length === 0 ? [{ id: parseNumber(key), isDropped: false }] : []
  })
  const both = recipients.find(({ id, isDropped }) => isDropped && idsOf(command).includes(id))
  if (both !== undefined) throw new ScriptError(`can't both deliver and drop msgs to ${both.id}`)
  let count = 0
  for (const { id, isDropped } of recipients) count += deliver(environment, id, type, isDropped)
  if (count === 0) print(environment, 'no messages\n')
}

/** @returns How many were delivered or lost. */
export function deliver(
  environment: Environment,
  to: number,
  type: string | undefined,
  isDropped: boolean,
): number {
  const due = (each: Mail): boolean =>
    each.to === to && !(isDropped && each.isLocal) && (type === undefined || each.said.type === type)
  const mail = environment.mail.filter(due)
  environment.mail = environment.mail.filter((each) => !due(each))
  for (const each of mail) {
    print(environment, `${isDropped ? 'dropped: ' : ''}${describeMail(environment, each)}\n`)
    if (!isDropped) arrive(environment, nodeAt(environment, to), each)
  }
  return mail.length
}

function arrive(environment: Environment, each: ScriptNode, mail: Mail): void {
  try {
    mail.arrive(each)
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error
    print(environment, `${error.message}\n`)
  }
}

/** `send-snapshot 1 3`: the newest one, which the sender's core knows nothing of. */
export function sendSnapshot(environment: Environment, command: Command): void {
  const [from, to] = idsOf(command)
  const { raft, history } = nodeAt(environment, from ?? 0)
  const snapshot = history.at(-1)
  if (snapshot === undefined || to === undefined) throw new ScriptError('nothing to send')
  const { cluster, group, generation, self } = raft.config
  const header = { cluster, group, generation, from: self, to: memberOf(to), term: raft.term }
  const { index, term: logTerm, configuration, data } = snapshot
  const body = { index, logTerm, configuration, data, offset: 0, total: data.length, last: true }
  const mail = mailOf(environment, { kind: 'MsgSnap', ...header, ...body, checksum: crc32(data) })
  environment.mail.push(mail)
  print(environment, describeMail(environment, mail))
}
