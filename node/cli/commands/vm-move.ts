/** `vm move`: as a job that is watched, or with --dry-run as what it would be. */
import type { PeerView, SiteView, VmView } from '../../views.ts'
import { GodwitError } from '../../../protocols/errors.ts'
import type { Command } from '../command.ts'
import { usage } from '../failures.ts'
import type { Session } from '../session.ts'
import { DETACH, JOB_TIMEOUT, start } from './job.ts'

export const vmMove: Command = {
  name: 'vm move',
  aliases: ['mv'],
  summary: 'Move a VM to another peer or site',
  about:
    'Only bytes that nobody near the destination has cross the link. Whatever happens, exactly one VM runs.',
  arguments: [{ name: 'vm', summary: 'name, site/name, id or its unique beginning', complete: 'vm' }],
  options: [
    {
      flags: '--to <target>',
      summary: 'a peer, a site, or auto for another peer of its site',
      complete: 'target',
    },
    {
      flags: '--mode <mode>',
      summary: 'cold powers it off first; auto chooses',
      choices: ['auto', 'cold'],
      otherwise: 'auto',
    },
    { flags: '--dry-run', summary: 'say from where to where it would go, and do nothing' },
    DETACH,
  ],
  examples: [
    ['vm move web --to hill', 'to another site, with progress'],
    ['vm move web --to heron --mode cold --detach', 'to a peer, without waiting'],
    ['vm move web --to hill --dry-run', 'only what would be done'],
  ],
  timeout: JOB_TIMEOUT,
  run: move,
}

async function move(session: Session): Promise<number> {
  const to = session.text('to') ?? usage('--to is missing: a peer, a site, or auto', 'godwit peer list')
  const params = { name: session.word('vm'), to, mode: session.text('mode') ?? 'auto' }
  return session.has('dryRun') ? plan(session, params) : start(session, 'vm.move', params)
}

/** Four questions and no change; a slow link stands between us and the VM's site at most. */
const PLAN_MS = 10_000

/**
 * Made here from reads alone, so that it can change nothing. Whether the destination has room is settled by the
 * reservation, when the move begins.
 */
async function plan(
  session: Session,
  { mode, name, to }: { mode: string; name: string; to: string },
): Promise<number> {
  const list = async <T>(method: string, params: object = {}): Promise<T> =>
    (await session.ask(method, params, PLAN_MS)).value as T
  const { vm } = await list<{ vm: VmView }>('vm.show', { name })
  const site = (await list<SiteView[]>('site.list')).find((each) => each.name === to)
  const peer =
    site === undefined && to !== 'auto' ? await list<PeerView>('peer.show', { name: to }) : undefined
  if (peer !== undefined && peer.id === vm.hostId) {
    throw new GodwitError({ code: 'MOVE_REFUSED', vm: name, why: `it is on ${peer.name} already` })
  }
  await session.showItem('move-plan', {
    vm: `${vm.site}/${vm.name}`,
    from: `${vm.site}/${vm.host}`,
    to: peer === undefined ? (site?.name ?? vm.site) : `${peer.site}/${peer.name}`,
    host: peer === undefined ? 'chosen by the site' : peer.name,
    // Live and warm moves are not provided yet: auto is cold.
    mode: mode === 'auto' ? 'cold' : mode,
    guest: vm.state === 'running' ? 'powered off, then started there' : `${vm.state}; is not started there`,
  })
  return 0
}
