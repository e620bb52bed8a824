import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

export function bootArgs(
  { bootOrder: order, bootOnce: once, bootMenu, directBoot }: MachineSpec,
  { initrd: ofRun, tscKhz }: Pick<Wiring, 'initrd' | 'tscKhz'> = {},
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
    // The author's arguments follow: the kernel uses the last one of a repeated argument.
    const full = tscKhz === undefined ? append : `tsc_early_khz=${tscKhz} ${append}`.trimEnd()
    if (full !== '') args.push('-append', full)
  }
  return args
}
