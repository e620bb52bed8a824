import { pickToolEnvironment } from '../common/process/environment.js'
import { Turns } from '../common/turns.js'
import { vmError } from '../errors.js'
import { runProgram } from './program.js'
import { requireTool } from './tools.js'

/** A screen of text takes half a second on a slow core; one with photographs much longer. */
const READ_MS = 30_000

/** Whoever wants a text read: one at a time, as each takes a whole core. */
const turns = new Turns()

/**
 * Reads the text of a picture by the program tesseract, line by line.
 *
 * @param pgm the picture, in a form that tesseract takes.
 * @param language as tesseract names it: `eng`, `deu`, `chi_sim`, or several: `eng+deu`.
 * @throws {InfrastructureError} TOOL_NOT_FOUND with the package, where tesseract or its data for the language is not installed; OCR_FAILED.
 */
export async function readText(pgm: Buffer, language: string, signal: AbortSignal): Promise<string> {
  const path = await requireTool({
    program: 'tesseract',
    aptPackage: 'tesseract-ocr',
    why: 'reads text off pictures',
  })
  const endTurn = await turns.take(signal)
  try {
    // Its threads wait for each other more than they gain: without them it takes less time, of one core. 6: one block of text.
    const result = await runProgram(path, ['stdin', 'stdout', '-l', language, '--psm', '6'], {
      endsWithUs: true,
      timeoutMs: READ_MS,
      signal,
      env: { ...pickToolEnvironment(process.env, { more: ['TESSDATA_PREFIX'] }), OMP_THREAD_LIMIT: '1' },
      input: pgm,
    })
    if (result.exitCode === 0) return tidy(result.stdout)
    throw cannotRead(result, language)
  } finally {
    endTurn()
  }
}

/** Lines without blank ones, and without the page's end; how wide a gap is depends on the letters around it. */
function tidy(text: string): string {
  return text
    .split(/[\n\f]+/)
    .map((line) => line.trim().replace(/\s+/g, ' '))
    .filter((line) => line !== '')
    .join('\n')
}

function cannotRead({ stderr, exitCode, problem }: Awaited<ReturnType<typeof runProgram>>, language: string) {
  const missing = /Failed loading language '(\w+)'/.exec(stderr)?.[1]
  if (missing !== undefined) {
    const aptPackage = `tesseract-ocr-${missing.replaceAll('_', '-')}`
    return vmError('TOOL_NOT_FOUND', {
      summary: `tesseract has no data for the language '${missing}'.`,
      expected: `the package ${aptPackage} to be installed`,
      got: `language: '${language}'`,
      hint: '`tesseract --list-langs` prints those that it has.',
    })
  }
  return vmError('OCR_FAILED', {
    summary: 'tesseract could not read the text of a picture.',
    got: problem ?? `exit code ${exitCode}`,
    evidence: [{ label: 'What tesseract said', text: stderr.slice(-2000) }],
    hint: 'see whether it runs at all: `tesseract --version`.',
  })
}
