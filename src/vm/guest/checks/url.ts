import { combineSignals } from '../../../common/combine-signals.js'
import { matchText } from '../../../common/match-text.js'
import { MIB } from '../../../common/units.js'
import { vmError } from '../../../errors.js'
import type { GuestHandle } from '../guest-handle.js'
import type { Check } from './check.js'
import { formatText } from './format-text.js'

/** Expected answer of a server. */
export interface UrlExpectation {
  /** HTTP status code. @default any below 400 */
  readonly status?: number | undefined
  /** Text that the body contains, or pattern that it matches. */
  readonly body?: string | RegExp | undefined
}

/** Response of a server. */
export interface UrlAnswer {
  /** HTTP status code. */
  readonly status: number
  /** Body of the answer, at most 1 MiB. */
  readonly body: string
}

const MAX_BODY_BYTES = MIB
/** Timeout of one request on a host with KVM. */
const REQUEST_TIMEOUT_MS = 10_000

/**
 * Met if a server in the guest answers the host through a forwarded port. `target` is a URL, a path
 * on guest port 80, or a guest port. Redirects are not followed, and certificates are not verified.
 * @example checks.urlAnswers('/health', { status: 200, body: 'ok' })
 */
export function urlAnswers(target: string | number, { status, body }: UrlExpectation = {}): Check<UrlAnswer> {
  const parts = [
    ...(status === undefined ? [] : [`status ${status}`]),
    ...(body === undefined ? [] : [`the body ${formatText(body)}`]),
  ]
  const name = typeof target === 'number' ? `port ${target}` : target
  return {
    expected: `${name} to answer${parts.length > 0 ? ` with ${parts.join(' and ')}` : ''}`,
    run: async (vm, signal) => {
      const url = resolveUrl(vm, target)
      const limit = combineSignals(signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS * vm.timeFactor))
      try {
        const answer = await readUrl(url, limit)
        const isStatus = status === undefined ? answer.status < 400 : answer.status === status
        const isBody = body === undefined || matchText(answer.body, body)
        const received = `status ${answer.status}${body === undefined ? '' : ` and the body ${formatText(answer.body)}`}`
        return { isMet: isStatus && isBody, received, value: answer }
      } catch (error) {
        signal.throwIfAborted()
        const { code, message } = error as NodeJS.ErrnoException
        return {
          isMet: false,
          received: limit.aborted ? 'no response in time' : `no response: ${code ?? message}`,
        }
      }
    },
  }
}

function resolveUrl(vm: GuestHandle, target: string | number): URL {
  if (typeof target === 'number') return new URL(vm.url(target))
  if (target.startsWith('/')) return new URL(vm.url(80, target))
  if (/^https?:\/\//.test(target) && URL.canParse(target)) return new URL(target)
  throw vmError('INVALID_OPTIONS', {
    summary: 'The target of a URL check is invalid.',
    expected: 'a URL that begins with http:// or https://, a path that begins with /, or a guest port',
    got: JSON.stringify(target),
    hint: 'Use `vm.url(port, path)` to get the URL of a forwarded port.',
  })
}

async function readUrl(url: URL, signal: AbortSignal): Promise<UrlAnswer> {
  // Loaded on demand: most tests contact no server, and importing withvm should be fast.
  const { request: send } = await (url.protocol === 'https:' ? import('node:https') : import('node:http'))
  return new Promise((resolve, reject) => {
    // Certificates of test guests are self-signed.
    const options = { signal, agent: false, rejectUnauthorized: false } as const
    const request = send(url, options)
    request.on('error', reject)
    request.on('response', (response) => {
      // One buffer, of which memory is used as it is written: a list of chunks of one byte takes
      // 200 times as much.
      const body = Buffer.alloc(MAX_BODY_BYTES)
      let bytes = 0
      const finish = () => {
        resolve({ status: response.statusCode ?? 0, body: body.toString('utf8', 0, bytes) })
      }
      response.on('error', reject)
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.copy(body, bytes)
        if (bytes < MAX_BODY_BYTES) return
        finish()
        response.destroy()
      })
      response.on('end', finish)
    })
    request.end()
  })
}
