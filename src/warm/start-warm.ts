import type { MachineSpec } from '../spec/machine-spec.js'
import { type BootOptions, bootMachine } from '../vm/boot.js'
import type { MachineHost } from '../vm/machine.js'
import type { VM } from '../vm/vm.js'
import { openTemplate } from './template.js'

/** Starts a guest from its template. */
export async function startWarm(
  spec: MachineSpec<VM>,
  host: MachineHost,
  settings: Omit<BootOptions, 'startedFrom'>,
): Promise<VM> {
  const { name, frozen, buildMs } = await openTemplate(spec, host, settings)
  const startedFrom = { kind: 'template', template: name, buildMs } as const
  return (await bootMachine(spec, host, { ...settings, frozen, startedFrom })).vm
}
