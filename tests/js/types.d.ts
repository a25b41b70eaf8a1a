// Of anywidget: what our modules use of the model that a notebook gives them.
interface Model {
  get(name: string): any;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown): void;
  on(event: string, call: (...values: any[]) => void): void;
  off(event: string, call?: ((...values: any[]) => void) | null): void;
}
interface Shown { model: Model; el: HTMLElement; }
// A window in milliseconds since the epoch, half-open.
interface TimeWindow { start: number; end: number; }
