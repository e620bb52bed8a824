import { FILE_BYTES, PARKED } from '../../src/provisioning/guest-identity.js'
import { buildIdentityAgent, INSTALLED_AGENT } from '../../src/provisioning/identity-agent/program.js'
import { type AgentArch, findAgentArch } from '../../src/provisioning/identity-agent/target.js'
import type { GuestArch } from '../../src/spec/architectures.js'
import type { GuestFile } from '../recipe.js'

/**
 * FIFO through which a waiting script is notified that the clone was restored, with the action to
 * perform.
 */
export const RESTORED_FIFO = '/run/withvm/restored'

/** Identity agent from the boot on, and the same program when the guest is ready to be saved. */
export const IDENTITY_AGENT_PATHS = {
  booted: INSTALLED_AGENT.path,
  parked: '/usr/lib/withvm/parked-agent',
} as const

/** Returns the programs of the identity agent; none if it does not support the architecture. */
export function identityAgentFiles(arch: GuestArch): Readonly<Record<string, GuestFile>> {
  const agentArch = findAgentArch(arch)
  return agentArch === undefined ? {} : buildFiles(agentArch)
}

function buildFiles(arch: AgentArch): Readonly<Record<string, GuestFile>> {
  return {
    [IDENTITY_AGENT_PATHS.booted]: { content: buildIdentityAgent(arch), mode: 0o755 },
    [IDENTITY_AGENT_PATHS.parked]: {
      content: buildIdentityAgent(arch, { announcement: PARKED }),
      mode: 0o755,
    },
  }
}

/** Returns a shell command that prints the newlines of a file until a clone overwrites them. */
export function printBlank(file: 'authorizedKeys' | 'openssh'): string {
  const bytes = file === 'openssh' ? FILE_BYTES.hostKey.openssh : FILE_BYTES.authorizedKeys
  return `printf '%${bytes}s' '' | tr ' ' '\\n'`
}
