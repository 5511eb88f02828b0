/**
 * Placeholders of machines: the actor file, or a test, provides what a chart only names.
 *
 * @module
 */

/** An action, guard or actor that the chart names and its actor provides. */
export function notProvided(name: string): () => never {
  return () => {
    throw new Error(`"${name}" is not provided`);
  };
}
