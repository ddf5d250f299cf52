/**
 * A control group for each guest, where this process may make one: below its own, in cgroup v2, else in the first v1
 * hierarchy that is writable. Without one a guest runs all the same, among the peer's own processes.
 */
import { constants } from 'node:fs'
import { access, mkdir, readFile, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A killed process leaves its group within milliseconds; one that does not is left to whoever reads /sys. */
const DROP_LOOKS = 20
const DROP_MS = 50

/** Where groups of our own may be made, best first: the folders of this process's groups. */
export function ownGroups(mountinfo: string, cgroup: string): string[] {
  const groups = new Map(
    cgroup
      .trim()
      .split('\n')
      .map((line) => line.split(':'))
      .map(([, controllers, ...path]) => [controllers ?? '', path.join(':')] as const),
  )
  const mounts = mountinfo.split('\n').flatMap((line) => {
    // "36 35 98:0 /root /mount/point options - type source super-options"
    const [left = '', right = ''] = line.split(' - ')
    const [type = '', , options = ''] = right.split(' ')
    const point = left.split(' ')[4]
    return point !== undefined && type.startsWith('cgroup') ? [{ type, options, point }] : []
  })
  const folders = mounts.flatMap(({ type, options, point }) => {
    const controllers =
      type === 'cgroup2' ? '' : [...groups.keys()].find((key) => key !== '' && within(key, options))
    const path = controllers === undefined ? undefined : groups.get(controllers)
    return path === undefined ? [] : [{ type, folder: join(point, path) }]
  })
  const second = folders.filter(({ type }) => type === 'cgroup2')
  const first = folders.filter(({ type }) => type !== 'cgroup2')
  return [...second, ...first].map(({ folder }) => folder)
}

/** Whether a mount's options name all controllers of a group's line. */
const within = (controllers: string, options: string): boolean => {
  const named = options.split(',')
  return controllers.split(',').every((controller) => named.includes(controller))
}

export type MadeGroup = { readonly folder: string } | { readonly why: string }

/** Makes the group `name`, or says why there is none. */
export async function makeGroup(name: string): Promise<MadeGroup> {
  let why = 'this host has no control groups'
  const [mountinfo, cgroup] = await Promise.all(
    ['mountinfo', 'cgroup'].map((file) => readFile(`/proc/self/${file}`, 'utf8').catch(() => '')),
  )
  for (const own of ownGroups(mountinfo ?? '', cgroup ?? '')) {
    const folder = join(own, name)
    try {
      await mkdir(folder, { recursive: true })
      await access(join(folder, 'cgroup.procs'), constants.W_OK)
      return { folder }
    } catch (error) {
      why = `${folder}: ${(error as Error).message}`
    }
  }
  return { why: why.slice(0, 300) }
}

/** Removes a group whose processes are going; the keeper does so too, unless it was killed. */
export async function dropGroup(folder: string): Promise<void> {
  if (folder === '') return
  for (let look = 0; look < DROP_LOOKS; look++) {
    try {
      return await rmdir(folder)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') return
      await sleep(DROP_MS)
    }
  }
}
