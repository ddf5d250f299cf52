/** How VMs look as a table, and what is done with them: placement, plans, moves. */
import type { VmView } from '../../views.ts'
import type { VmSpec } from '../../vm/spec.ts'
import { humanBytes } from '../human.ts'
import { age, mark, memory, type View, view } from './column.ts'

const vm: View<VmView> = {
  name: ({ name, site }) => `${site}/${name}`,
  columns: [
    { key: 'name', value: (v) => v.name },
    { key: 'site', value: (v) => v.site },
    { key: 'host', value: (v) => v.host },
    { key: 'state', value: (v) => v.state, text: (v) => mark(v.state, v) },
    { key: 'wanted', value: (v) => v.wanted },
    { key: 'cpus', right: true, value: (v) => v.cpus },
    memory,
    age,
    { key: 'why', value: (v) => v.why },
    { key: 'id', wide: true, value: (v) => v.id },
    { key: 'epoch', wide: true, value: (v) => v.epoch },
    { key: 'job', wide: true, value: (v) => v.job },
    {
      key: 'cpu-seconds',
      wide: true,
      right: true,
      value: (v) => v.cpuSeconds,
      text: (v) => (v.cpuSeconds === null ? '-' : v.cpuSeconds.toFixed(1)),
    },
    {
      key: 'resident',
      wide: true,
      right: true,
      value: (v) => v.memoryBytes,
      text: (v) => (v.memoryBytes === null ? '-' : humanBytes(v.memoryBytes)),
    },
    { key: 'host-id', wide: true, value: (v) => v.hostId },
  ],
}

type Detail = { vm: VmView; spec: VmSpec }
type Placement = { id: string; name: string; host: string; epoch: string }

/** By kind, as in an envelope. */
export const VMS: Readonly<Record<string, View>> = {
  vm: view(vm),
  operation: view<{ vm: string; operation: string; why: string }>({
    name: ({ vm }) => vm,
    columns: [
      { key: 'vm', value: (v) => v.vm },
      { key: 'operation', value: (v) => v.operation },
      { key: 'why', value: (v) => v.why },
    ],
  }),
  'vm-detail': view<Detail>({
    name: ({ vm: { name, site } }) => `${site}/${name}`,
    more: ({ spec }) => ({ spec }),
    columns: vm.columns.map(({ value, text, ...rest }) => ({
      ...rest,
      value: (v: Detail) => value(v.vm),
      ...(text && { text: (v: Detail, nowMs: number) => text(v.vm, nowMs) }),
    })),
  }),
  'vm-placement': view<Placement>({
    name: ({ name }) => name,
    columns: [
      { key: 'name', value: (v) => v.name },
      { key: 'host', value: (v) => v.host },
      { key: 'epoch', value: (v) => v.epoch },
      { key: 'id', value: (v) => v.id },
    ],
  }),
  'vm-deleted': view<{ id: string }>({
    name: ({ id }) => id,
    columns: [{ key: 'id', value: (v) => v.id }],
  }),
  'move-plan': view<{ vm: string; from: string; to: string; host: string; mode: string; guest: string }>({
    name: ({ vm }) => vm,
    columns: [
      { key: 'vm', value: (v) => v.vm },
      { key: 'from', value: (v) => v.from },
      { key: 'to', value: (v) => v.to },
      { key: 'host', value: (v) => v.host },
      { key: 'mode', value: (v) => v.mode },
      { key: 'guest', value: (v) => v.guest },
    ],
  }),
}
