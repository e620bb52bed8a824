import { vmError } from '../../errors.js'

/** What answers in the guest is no guest agent, or means no good. */
export function malformed(got: string): Error {
  return vmError('AGENT_FAILED', {
    summary: 'the guest agent sent what is not of its protocol',
    got,
    hint: 'See what runs as the guest agent in the guest: it should be qemu-guest-agent.',
  })
}
