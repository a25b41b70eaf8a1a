/** @typedef {{content: any, buffers: DataView[]}} Answer */

/**
 * Questions to the kernel, answered by number.
 *
 * A promise resolves with the answer, or with null if a newer question of its name was asked since:
 * what comes late is never shown. It rejects with the kernel's sentence.
 *
 * @param {Model} model
 */
export function askKernel(model) {
  // Of this view: a second view of the same widget hears its answers too.
  const own = Math.random().toString(36).slice(2);
  /** @type {Map<string, {name: string, resolve: (answer: Answer | null) => void, reject: (error: Error) => void}>} */
  const waiting = new Map();
  /** @type {Map<string, string>} */
  const newest = new Map();
  let count = 0;
  /** @param {any} content @param {DataView[]} [buffers] */
  const hear = (content, buffers) => {
    const question = waiting.get(content?.number);
    if (!question) return;
    waiting.delete(content.number);
    if (content.dropped || newest.get(question.name) !== content.number) question.resolve(null);
    else if (content.error) question.reject(new Error(content.error));
    else question.resolve({content, buffers: buffers ?? []});
  };
  model.on("msg:custom", hear);
  return {
    /**
     * @param {string} name
     * @param {object} content
     * @returns {Promise<Answer | null>}
     */
    ask(name, content) {
      const number = `${own}-${++count}`;
      newest.set(name, number);
      return new Promise((resolve, reject) => {
        waiting.set(number, {name, resolve, reject});
        model.send({...content, ask: name, number});
      });
    },
    /** How many questions are not answered yet. */
    get pending() { return waiting.size; },
    close() {
      model.off("msg:custom", hear);
      for (const {resolve} of waiting.values()) resolve(null);
      waiting.clear();
    },
  };
}
