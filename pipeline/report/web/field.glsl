// The colour that a ray sees, premultiplied, and its opacity: rodin_models.field.render for one pixel, the same samples
// at the same places. Where a sample can add nothing that eight bits show, it is left out.
//
// Defined before: C4 H4 K4 (channels, hidden, colour hidden, in fours), OCTAVES, DIRECTION_OCTAVES.
precision highp float;
precision highp int;
precision highp sampler2DArray;
precision highp sampler3D;

uniform sampler2DArray uPlanes;     // layer plane * C4 + group: four channels, levels over 255
uniform sampler3D uCells;           // coarse density, negative where there is nothing
uniform int uCellsASide;
uniform int uPieces;
uniform vec3 uLow;                  // the box around the occupied cells
uniform vec3 uHigh;
uniform vec4 uScale[3 * C4];        // a level over 255 in units of the channel
uniform vec4 uOffset[C4];           // the three planes' together
uniform mat4 uCam2world;            // camera axes: x right, y down, z forward
uniform vec4 uPinhole;              // fx, fy, cx, cy in pixels
uniform int uSamples;

#define DIRECTIONS (3 * (1 + 2 * DIRECTION_OCTAVES))
#define HIDDEN_ROWS 0
#define DENSITY_ROWS H4
#define COLOUR_ROWS (2 * H4)
#define DIRECTION_ROWS (2 * H4 + K4)
#define RGB_ROWS (2 * H4 + K4 * (1 + DIRECTIONS))
#define BIAS_ROW (2 * H4 + K4 * (4 + DIRECTIONS))

layout(std140) uniform Trunk0 { mat4 trunk0[C4 * H4]; };
#if OCTAVES > 0
layout(std140) uniform Trunk1 { mat4 trunk1[C4 * H4]; };
layout(std140) uniform Trunk2 { mat4 trunk2[C4 * H4]; };
#endif
#if OCTAVES > 1
layout(std140) uniform Trunk3 { mat4 trunk3[C4 * H4]; };
layout(std140) uniform Trunk4 { mat4 trunk4[C4 * H4]; };
#endif
#if OCTAVES > 2
layout(std140) uniform Trunk5 { mat4 trunk5[C4 * H4]; };
layout(std140) uniform Trunk6 { mat4 trunk6[C4 * H4]; };
#endif
#if OCTAVES > 3
layout(std140) uniform Trunk7 { mat4 trunk7[C4 * H4]; };
layout(std140) uniform Trunk8 { mat4 trunk8[C4 * H4]; };
#endif
layout(std140) uniform ColourFeature { mat4 colourFeature[K4 * H4]; };
layout(std140) uniform Rest { vec4 rest[BIAS_ROW + 1]; };

out vec4 pixel;

const float PI = 3.141592653589793;
const float EXPONENT_BOUND = 15.0;
const float EVEN_MASS = 1.0;
const float THIN = 1.0 / 4096.0;    // a sample of less weight gets no colour of its own
const float OPAQUE = 1.0 / 1024.0;  // what is left of the light where a ray ends

vec4 hidden[H4];
float direction[DIRECTIONS];

// The hidden layer of the feature at a world point.
void readFeature(vec3 point) {
  vec3 place = 0.5 * point + 0.5;
  for (int i = 0; i < H4; ++i) hidden[i] = rest[HIDDEN_ROWS + i];
  for (int j = 0; j < C4; ++j) {
    vec4 feature = uOffset[j]
      + uScale[j] * texture(uPlanes, vec3(place.xy, float(j)))
      + uScale[C4 + j] * texture(uPlanes, vec3(place.zx, float(C4 + j)))
      + uScale[2 * C4 + j] * texture(uPlanes, vec3(place.yz, float(2 * C4 + j)));
#if OCTAVES > 0
    vec4 sine1 = sin(PI * feature), cosine1 = cos(PI * feature);
#endif
#if OCTAVES > 1
    vec4 sine2 = sin(2.0 * PI * feature), cosine2 = cos(2.0 * PI * feature);
#endif
#if OCTAVES > 2
    vec4 sine3 = sin(4.0 * PI * feature), cosine3 = cos(4.0 * PI * feature);
#endif
#if OCTAVES > 3
    vec4 sine4 = sin(8.0 * PI * feature), cosine4 = cos(8.0 * PI * feature);
#endif
    for (int i = 0; i < H4; ++i) {
      int at = j * H4 + i;
      vec4 sum = trunk0[at] * feature;
#if OCTAVES > 0
      sum += trunk1[at] * sine1 + trunk2[at] * cosine1;
#endif
#if OCTAVES > 1
      sum += trunk3[at] * sine2 + trunk4[at] * cosine2;
#endif
#if OCTAVES > 2
      sum += trunk5[at] * sine3 + trunk6[at] * cosine3;
#endif
#if OCTAVES > 3
      sum += trunk7[at] * sine4 + trunk8[at] * cosine4;
#endif
      hidden[i] += sum;
    }
  }
  for (int i = 0; i < H4; ++i) hidden[i] = max(hidden[i], 0.0);
}

float density() {
  float exponent = rest[BIAS_ROW].w;
  for (int i = 0; i < H4; ++i) exponent += dot(rest[DENSITY_ROWS + i], hidden[i]);
  return exp(clamp(exponent, -EXPONENT_BOUND, EXPONENT_BOUND));
}

vec3 colour() {
  vec3 rgb = rest[BIAS_ROW].xyz;
  for (int k = 0; k < K4; ++k) {
    vec4 sum = rest[COLOUR_ROWS + k];
    for (int d = 0; d < DIRECTIONS; ++d) sum += rest[DIRECTION_ROWS + d * K4 + k] * direction[d];
    for (int i = 0; i < H4; ++i) sum += colourFeature[k * H4 + i] * hidden[i];
    sum = max(sum, 0.0);
    rgb += vec3(dot(rest[RGB_ROWS + k], sum), dot(rest[RGB_ROWS + K4 + k], sum), dot(rest[RGB_ROWS + 2 * K4 + k], sum));
  }
  return 1.0 / (1.0 + exp(-rgb));
}

// Coarse density of a piece of the ray; negative where there is nothing, and behind the last piece.
float known(int piece, vec3 origin, vec3 along, float near, float size) {
  if (piece >= uPieces) return -1.0;
  vec3 point = origin + (near + (float(piece) + 0.5) * size) * along;
  float side = float(uCellsASide);
  return texelFetch(uCells, ivec3(clamp((point + 1.0) * (0.5 * side), 0.0, side - 0.5)), 0).r;
}

void main() {
  pixel = vec4(0.0);
  // Row 0 of the picture is row 0 of the texture.
  vec2 inCamera = (gl_FragCoord.xy - uPinhole.zw) / uPinhole.xy;
  vec3 along = mat3(uCam2world) * normalize(vec3(inCamera, 1.0));
  vec3 origin = uCam2world[3].xyz;

  vec3 inverse = 1.0 / mix(along, vec3(1e-30), lessThan(abs(along), vec3(1e-30)));
  vec3 first = (uLow - origin) * inverse, second = (uHigh - origin) * inverse;
  vec3 entry = min(first, second), leave = max(first, second);
  float near = max(max(max(entry.x, entry.y), entry.z), 0.0);
  float far = min(min(leave.x, leave.y), leave.z);
  if (far <= near) return;
  float size = (far - near) / float(uPieces);

  // rodin_models.field.march: the mass of all pieces, each occupied one's weight in the pixel shared with its
  // neighbours and one over their number.
  float total = 0.0, count = 0.0;
  {
    float before = 0.0, behind = 1.0;
    float here = known(0, origin, along, near, size);
    float after = exp(-max(here, 0.0) * size);
    float weight = behind - after;
    behind = after;
    for (int piece = 0; piece < uPieces; ++piece) {
      float next = known(piece + 1, origin, along, near, size);
      after = behind * exp(-max(next, 0.0) * size);
      float coming = behind - after;
      if (here >= 0.0) { count += 1.0; total += (before + weight + coming) / 3.0; }
      before = weight; weight = coming; behind = after; here = next;
    }
  }
  if (count == 0.0) return;
  total += EVEN_MASS;

  for (int axis = 0; axis < 3; ++axis) {
    direction[axis] = along[axis];
#if DIRECTION_OCTAVES > 0
    float octave = PI;
    for (int o = 0; o < DIRECTION_OCTAVES; ++o) {
      direction[3 + 6 * o + axis] = sin(octave * along[axis]);
      direction[6 + 6 * o + axis] = cos(octave * along[axis]);
      octave *= 2.0;
    }
#endif
  }

  // The same pieces again, with a sample wherever the mass so far passes a stratum's middle.
  int piece = 0;
  float before = 0.0, behind = 1.0;
  float here = known(0, origin, along, near, size);
  float after = exp(-max(here, 0.0) * size);
  float weight = behind - after;
  behind = after;
  float next = known(1, origin, along, near, size);
  after = behind * exp(-max(next, 0.0) * size);
  float coming = behind - after;
  float mass = here >= 0.0 ? (before + weight + coming) / 3.0 + EVEN_MASS / count : 0.0;
  float reached = mass;
  float left = 1.0;
  for (int k = 0; k < uSamples; ++k) {
    float wanted = (float(k) + 0.5) / float(uSamples) * total;
    while (wanted >= reached && piece < uPieces - 1) {
      ++piece;
      before = weight; weight = coming; behind = after; here = next;
      next = known(piece + 1, origin, along, near, size);
      after = behind * exp(-max(next, 0.0) * size);
      coming = behind - after;
      mass = here >= 0.0 ? (before + weight + coming) / 3.0 + EVEN_MASS / count : 0.0;
      reached += mass;
    }
    if (mass <= 0.0) continue;
    float inside = clamp((wanted - reached + mass) / mass, 0.0, 1.0);
    float stands = size * total / (mass * float(uSamples));
    readFeature(origin + (near + (float(piece) + inside) * size) * along);
    float through = exp(-density() * stands);
    float share = left * (1.0 - through);
    left *= through;
    if (share > THIN) pixel += vec4(colour(), 1.0) * share;
    if (left < OPAQUE) break;
  }
}
