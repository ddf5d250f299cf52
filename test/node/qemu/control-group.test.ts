import test from 'ava'
import { ownGroups } from '../../../node/qemu/control-group.ts'
import { statFields } from '../../../node/qemu/process.ts'

const unified = '30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n'
const memory = '31 1 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n'
const cpu = '32 1 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n'
const hybrid = '33 1 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n'
const disk = '25 1 8:1 / / rw - ext4 /dev/sda1 rw\n'

const hosts: [what: string, mountinfo: string, cgroup: string, folders: string[]][] = [
  [
    'cgroup v2',
    disk + unified,
    '0::/system.slice/godwit.service\n',
    ['/sys/fs/cgroup/system.slice/godwit.service'],
  ],
  [
    'v1 alone',
    memory + cpu,
    '4:memory:/a\n3:cpu,cpuacct:/b:c\n',
    ['/sys/fs/cgroup/memory/a', '/sys/fs/cgroup/cpu,cpuacct/b:c'],
  ],
  [
    'both, v2 first',
    memory + hybrid,
    '4:memory:/a\n0::/u\n',
    ['/sys/fs/cgroup/unified/u', '/sys/fs/cgroup/memory/a'],
  ],
  ['none', disk, '', []],
  ['a hierarchy that this process is not in', memory, '3:cpu:/b\n', []],
]

for (const [what, mountinfo, cgroup, folders] of hosts) {
  test(`groups may be made below our own on a host with ${what}`, (t) => {
    t.deepEqual(ownGroups(mountinfo, cgroup), folders)
  })
}

test('the name of a process may hold anything', (t) => {
  const fields = statFields('12 (a) b (c)) S 1 12 12 0\n')
  t.deepEqual(fields, ['S', '1', '12', '12', '0'])
})
