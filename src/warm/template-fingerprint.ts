import type { MachineSpec } from '../spec/machine-spec.js'
import type { MachineHost } from '../vm/machine/guest-plan.js'
import { type HostProcessor, readHostProcessor } from '../vm/machine/host-processor.js'

/** Increase when the content of a template changes, or the way in which a clone resumes from it. */
const REVISION = 5

/**
 * Returns everything on which the RAM, the devices and the disk of a template depend. A difference
 * in any value means another template. Values that each clone receives (names, keys, ports) and the
 * host resources of its devices are not included.
 */
export function describeTemplate(
  spec: MachineSpec,
  host: MachineHost,
  processor: HostProcessor = readHostProcessor(),
): Readonly<Record<string, unknown>> {
  const { image, machine, cpu, cpus: cpuCount, topology, memoryBytes, memoryGrowth } = spec
  const { directBoot, systemDisk, network, display, devices } = spec
  return {
    revision: REVISION,
    image: image?.fingerprint,
    qemu: host.qemu.fingerprint,
    accelerator: host.accelerator,
    // With `runAs`, the files of the template belong to that user.
    user: host.user && [host.user.uid, host.user.gid],
    // Under TCG too, the guest's time-stamp counter is the host's: a clone on another processor
    // would have a wrong clock.
    hostCpu: processor.model,
    hostTsc: host.accelerator === 'tcg' ? roundFrequency(processor.tscKhz) : undefined,
    machine,
    cpu,
    cpuCount,
    topology,
    memoryBytes,
    memoryGrowth,
    directBoot,
    systemDisk,
    display: { vga: display.vga, tablet: display.tablet },
    devices,
    card: network.model,
  }
}

/** Rounds to steps of one percent: the clock of a clone may deviate by two percent. */
function roundFrequency(khz: number | undefined): number | undefined {
  return khz === undefined ? undefined : Math.round(Math.log(khz) / Math.log(1.01))
}
