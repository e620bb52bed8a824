import { vmError } from '../../../errors.js'
import type { GuestHandle } from '../guest-handle.js'
import type { Check } from './check.js'
import { matchText, showText } from './match-text.js'

export interface UrlExpectation {
  /** @default any below 400 */
  readonly status?: number
  /** What the body holds. */
  readonly body?: string | RegExp
}

/** What a server answered. */
export interface UrlAnswer {
  readonly status: number
  readonly body: string
}

const MOST_BODY = 1024 * 1024
/** A server that takes longer for one answer is asked again. */
const ANSWER_LIMIT_MS = 10_000

/**
 * A server answers this host, by a forwarded port. A URL; or a path on the guest's port 80, which must be
 * forwarded; or a port of the guest. Redirects are not followed, and certificates not verified.
 */
export function urlAnswers(target: string | number, { status, body }: UrlExpectation = {}): Check<UrlAnswer> {
  const parts = [
    ...(status === undefined ? [] : [`status ${status}`]),
    ...(body === undefined ? [] : [`the body ${showText(body)}`]),
  ]
  const name = typeof target === 'number' ? `port ${target}` : target
  return {
    expected: `${name} to answer${parts.length > 0 ? ` with ${parts.join(' and ')}` : ''}`,
    run: async (vm, signal) => {
      const url = resolveUrl(vm, target)
      const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_LIMIT_MS * vm.timeFactor)])
      try {
        const answer = await readUrl(url, limit)
        const isStatus = status === undefined ? answer.status < 400 : answer.status === status
        const isBody = body === undefined || matchText(answer.body, body)
        const received = `status ${answer.status}${body === undefined ? '' : ` and the body ${showText(answer.body)}`}`
        return { isMet: isStatus && isBody, received, value: answer }
      } catch (error) {
        signal.throwIfAborted()
        const { code, message } = error as NodeJS.ErrnoException
        return {
          isMet: false,
          received: limit.aborted ? 'no answer in time' : `no answer: ${code ?? message}`,
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
    summary: 'A check for a URL got something else.',
    expected: 'a URL that begins with http:// or https://, a path that begins with /, or a port of the guest',
    got: JSON.stringify(target),
    hint: '`vm.url(port, path)` gives the URL of a forwarded port.',
  })
}

async function readUrl(url: URL, signal: AbortSignal): Promise<UrlAnswer> {
  // Loaded late: most tests ask no server, and importing withvm is to cost little.
  const { request: send } = await (url.protocol === 'https:' ? import('node:https') : import('node:http'))
  return new Promise((resolve, reject) => {
    // Certificates of test guests are signed by nobody.
    const options = { signal, agent: false, rejectUnauthorized: false } as const
    const request = send(url, options)
    request.on('error', reject)
    request.on('response', (response) => {
      const chunks: Buffer[] = []
      let bytes = 0
      const finish = () => {
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') })
      }
      response.on('error', reject)
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        bytes += chunk.length
        if (bytes < MOST_BODY) return
        finish()
        response.destroy()
      })
      response.on('end', finish)
    })
    request.end()
  })
}
