import { Mutex } from '../common/locks/mutex.js'
import { pickToolEnvironment } from '../common/process/environment.js'
import { vmError } from '../errors.js'
import { runProgram } from './program.js'
import { requireTool } from './tools.js'

/**
 * Timeout of a run, in milliseconds. A text screen takes half a second on a slow core; photographs
 * take much longer.
 */
const TIMEOUT_MS = 30_000

/** Queue that serializes runs, because each one uses a whole core. */
const mutex = new Mutex()

/**
 * Recognizes the text of a screenshot with tesseract.
 *
 * @param pgm image in the PGM format.
 * @param language language code of tesseract: `eng`, `deu`, `chi_sim`, or several: `eng+deu`.
 * @throws {InfrastructureError} TOOL_NOT_FOUND, with the package, when tesseract or its language
 *   data is not installed; OCR_FAILED.
 */
export async function recognizeText(pgm: Buffer, language: string, signal: AbortSignal): Promise<string> {
  const path = await requireTool({
    program: 'tesseract',
    aptPackage: 'tesseract-ocr',
    why: 'recognizes text in screenshots',
  })
  const release = await mutex.acquire(signal)
  try {
    // A single thread is faster: with several, threads mostly wait for each other. --psm 6: a
    // single block of text.
    const result = await runProgram(path, ['stdin', 'stdout', '-l', language, '--psm', '6'], {
      endsWithParent: true,
      timeoutMs: TIMEOUT_MS,
      signal,
      env: { ...pickToolEnvironment(process.env, { more: ['TESSDATA_PREFIX'] }), OMP_THREAD_LIMIT: '1' },
      input: pgm,
    })
    if (result.exitCode === 0) return normalize(result.stdout)
    throw ocrError(result, language)
  } finally {
    release()
  }
}

/**
 * Removes blank lines and form feeds, and collapses spaces, whose number depends on the letters
 * around them.
 */
function normalize(text: string): string {
  return text
    .split(/[\n\f]+/)
    .map((line) => line.trim().replace(/\s+/g, ' '))
    .filter((line) => line !== '')
    .join('\n')
}

function ocrError({ stderr, exitCode, problem }: Awaited<ReturnType<typeof runProgram>>, language: string) {
  const missing = /Failed loading language '(\w+)'/.exec(stderr)?.[1]
  if (missing !== undefined) {
    const aptPackage = `tesseract-ocr-${missing.replaceAll('_', '-')}`
    return vmError('TOOL_NOT_FOUND', {
      summary: `The language data '${missing}' of tesseract is not installed.`,
      expected: `an installed language (package ${aptPackage} on Debian)`,
      got: `language: '${language}'`,
      hint: 'Install the language data; `tesseract --list-langs` lists the installed languages.',
    })
  }
  return vmError('OCR_FAILED', {
    summary: 'The text of a screenshot could not be recognized by tesseract.',
    got: problem ?? `exit code ${exitCode}`,
    evidence: [{ label: 'stderr of tesseract', text: stderr.slice(-2000) }],
    hint: 'Check the installation: run `tesseract --version`.',
  })
}
