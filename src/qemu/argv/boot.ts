import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

export function bootArgs(
  { bootOrder: order, bootOnce: once, bootMenu, directBoot }: MachineSpec,
  { initrd: ofRun }: Pick<Wiring, 'initrd'> = {},
): string[] {
  const args: string[] = []
  const menu = bootMenu ? 'on' : undefined
  const boot = joinOption('', { order, once, menu })
  if (boot !== '') args.push('-boot', boot)
  if (directBoot !== undefined) {
    const { kernel, dtb, append } = directBoot
    const initrd = ofRun ?? directBoot.initrd
    args.push('-kernel', kernel)
    if (initrd !== undefined) args.push('-initrd', initrd)
    if (dtb !== undefined) args.push('-dtb', dtb)
    if (append !== '') args.push('-append', append)
  }
  return args
}
