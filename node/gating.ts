/** What a proposal asks for that its group does not have yet (protocols/features.ts). */
import type { Codec } from '../protocols/codec.ts'
import type { Failure } from '../protocols/errors.ts'
import { featureName, levelOf } from '../protocols/features.ts'
import type { Asked } from '../protocols/raft/envelope.ts'
import { peerOf } from '../protocols/raft/member.ts'
import { lacking } from '../protocols/raft/raising.ts'
import type { Status } from '../protocols/raft/raft.ts'

/** Of a group, what decides it. */
export type Gated = {
  readonly name: string
  /** Agreed on. */
  readonly level: number
  /** Of this version. */
  readonly known: number
  readonly command: Codec<unknown>
  status(): Status
}

/** Why it is refused; undefined when every member reads all of it. */
export function featureOff(group: Gated, asked: Asked): Failure | undefined {
  if (group.level >= group.known || asked.kind !== 'do') return undefined
  const needed = levelOf(group.command, asked.command)
  if (needed <= group.level) return undefined
  const lacks = lacking(group.status(), needed).map(peerOf)
  return { code: 'FEATURE_OFF', feature: featureName(needed), group: group.name, lacking: lacks }
}
