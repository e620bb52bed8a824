import { relayCommand } from '../../common/process/relay-command.js'
import type { GuestForwardSpec } from '../../spec/guest-forward.js'
import type { MachineSpec, NetworkSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

type Commands = Wiring['forwardCommands']

/**
 * What answers the guest within its network, beside DHCP and TFTP: a folder by SMB, and what is at addresses of its own. Without a run
 * nothing listens for a function of the test's.
 */
export function guestServices({ sharedFolder, guestForwards }: NetworkSpec, commands: Commands): string[] {
  const forwards = guestForwards.flatMap((forward) => {
    const command = commands?.get(forward) ?? commandByHand(forward)
    return command === undefined
      ? []
      : [joinOption('', { guestfwd: `tcp:${forward.address}:${forward.port}-cmd:${command}` })]
  })
  return [...(sharedFolder === undefined ? [] : [joinOption('', { smb: sharedFolder })]), ...forwards]
}

/** Whether QEMU starts a process for each connection. */
export function startsProcesses({ network, furtherNetworks, netboot }: MachineSpec): boolean {
  const isServed = ({ sharedFolder, guestForwards }: NetworkSpec) =>
    sharedFolder !== undefined || guestForwards.length > 0
  return netboot?.http !== undefined || [network, ...furtherNetworks].some(isServed)
}

function commandByHand({ answer }: GuestForwardSpec): string | undefined {
  if ('command' in answer) return answer.command
  return 'server' in answer ? relayCommand(answer.server) : undefined
}
