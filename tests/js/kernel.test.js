import assert from "node:assert/strict";
import test from "node:test";
import {askKernel} from "../../ares_notebook/lab/static/kernel.js";

/** A model of a notebook that hears what a kernel says. */
const model = () => {
  /** @type {any[]} */
  const sent = [];
  /** @type {any} */
  let hear = null;
  return {
    sent, say: (/** @type {any[]} */ ...all) => hear?.(...all),
    on: (/** @type {string} */ _, /** @type {any} */ call) => { hear = call; },
    off: () => { hear = null; },
    send: (/** @type {any} */ content) => sent.push(content),
  };
};

test("a late answer to an older question of the same name is dropped, one of another name is not", async () => {
  const notebook = model(), kernel = askKernel(/** @type {any} */ (notebook));
  const answers = [kernel.ask("candles", {a: 1}), kernel.ask("hover", {}), kernel.ask("candles", {a: 2})];
  const [first, hover, second] = notebook.sent.map(each => each.number);
  notebook.say({number: second, is: "second"}, []);
  notebook.say({number: first, is: "first"}, []);
  notebook.say({number: hover, is: "hover"});
  const [late, other, newest] = await Promise.all(answers);
  assert.equal(late, null);
  assert.equal(other?.content.is, "hover");
  assert.equal(newest?.content.is, "second");
  assert.equal(kernel.pending, 0);
});

test("a sentence of the kernel rejects, another view's answers are ignored, closing leaves nothing waiting", async () => {
  const notebook = model(), kernel = askKernel(/** @type {any} */ (notebook));
  const refused = kernel.ask("candles", {});
  notebook.say({number: "of another view", is: "foreign"});
  assert.equal(kernel.pending, 1);
  notebook.say({number: notebook.sent[0].number, error: "nothing is cached"});
  await assert.rejects(refused, /nothing is cached/);
  const open = kernel.ask("candles", {});
  kernel.close();
  assert.equal(await open, null);
});
