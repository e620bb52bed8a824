import { vmError } from '../../errors.js'

/**
 * Builds the error of a message that violates the protocol: the program in the guest is not an
 * agent, or hostile.
 */
export function malformedResponseError(got: string): Error {
  return vmError('AGENT_FAILED', {
    summary: 'The guest agent sent a message that violates its protocol.',
    got,
    hint: 'Check which program runs as the guest agent: it should be qemu-guest-agent.',
  })
}
