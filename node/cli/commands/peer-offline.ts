/** `peer replace`: on the data folder of a peer that is stopped, after it was said what becomes of it. */
import { GodwitError } from '../../../protocols/errors.ts'
import type { Replacement } from '../../binding/replacing.ts'
import type { Command } from '../command.ts'
import { confirmed, DRY_RUN, YES } from '../confirm.ts'
import type { Session } from '../session.ts'

export const REPLACE: Command = {
  name: 'peer replace',
  summary: 'Take up a data folder that was restored, copied or moved, as a new incarnation of its peer',
  about:
    'The peer must be stopped, and nothing else may run as it: no other copy of the folder, on no other machine. Its ' +
    'logs are put aside: it comes back to its groups as a new member, and they fill it again. Guests that still run ' +
    'here are kept; a VM that does not run starts once its group has confirmed that it belongs here. Disks are as old as ' +
    'the folder. `up` refuses to act on a folder that is not as the peer last had it until this was done.',
  options: [YES, DRY_RUN],
  examples: [
    ['peer replace --dry-run', 'why the folder is refused, and what would become of it'],
    ['peer replace --yes', 'without a question'],
  ],
  timeout: '60s',
  run: replace,
}

async function replace(session: Session): Promise<number> {
  const [{ readConfig }, { prepareReplacement }] = await Promise.all([
    import('../../config.ts'),
    import('../../binding/replace-offline.ts'),
  ])
  const read = await readConfig(session.flags, session.io.env)
  if (!read.ok) throw new GodwitError(read.failure)
  const prepared = await prepareReplacement(read.value.config)
  if (!prepared.ok) throw new GodwitError(prepared.failure)
  const { replacement } = prepared.value
  try {
    explain(session, replacement)
    if (session.has('dryRun')) {
      await session.showItem('peer-replacement', replacement)
      return 0
    }
    const question = `Is nothing else running as ${replacement.peer}, here or elsewhere, and is this folder to take its place?`
    if (!(await confirmed(session, 'peer replace', question))) return 1
    const done = await prepared.value.replace()
    if (!done.ok) throw new GodwitError(done.failure)
    await session.showItem('peer-replacement', replacement)
    session.note('next: godwit up')
    return 0
  } finally {
    await prepared.value.close()
  }
}

/** What becomes of everything, before anybody is asked. */
function explain(session: Session, { groups, incarnation, peer, vms, why }: Replacement): void {
  session.note(why === '' ? 'The folder is as its peer last had it.' : `The folder is refused: ${why}.`)
  session.note(`${peer} begins incarnation ${incarnation}: no vote that it gave before is its own any more.`)
  for (const { group, fate } of groups) {
    if (fate === 'filled') session.note(`${group}: its log is put aside; the others fill it again.`)
    if (fate === 'begun anew')
      session.note(`${group}: nobody else has a copy; it begins a new generation from this folder.`)
    if (fate === 'stopped')
      session.note(
        `${group}: this peer had its only vote. Its log is put aside; recover the group where its newest copy is: godwit raft recover --group ${group}`,
      )
  }
  if (vms.length > 0)
    session.note(`VMs that start once their group has confirmed that they belong here: ${vms.join(', ')}.`)
}
